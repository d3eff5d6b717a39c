"""`python -m pacer.vectors`: plays the events of `vectors.json` and writes what is shown.

Every implementation must show the same. The file is a list of cases: `name`, `options` and
`events` are written by hand, the rest by this script.

options: `tds` (tokens/s; null: as it comes), `ttft_s`, `catch_up`, `at_end`, `whole_words`,
    `hold_s`; what is missing has its default (4.8, 1.0, 1.5, "pace", false, 0.1).
events: in order of time, `{"t": s, "type": ...}` with type `delta` (`text`, `tokens`: 1 if
    missing, null: nobody counts them), `recount` (`tokens`), `pause`, `resume`, `flush`,
    `speed` (`tds`) or `end`.
shown: `{"t": s, "text": ...}`. What is due at the time of an event is shown before it.
log: `delivered` and `shown`, seconds, one number a token.
qoe: area QoE of `delivered` and of `shown`, without the time that the reader had paused.

Times agree to 1 ms, scores to 0.001. Texts shown within 1 ms of each other are one entry.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pacer.page import Options, Page
from qoe import PROFILES, Expectation

PATH = Path(__file__).with_name("vectors.json")
SAME_S = 0.001
_READING = PROFILES["reading"].expectation

Case = dict[str, Any]
Event = dict[str, Any]


def play(case: Case) -> Case:
    """`case` with what an ideal timer shows of it: it looks whenever something is due."""
    page = Page(options(case["options"]))
    shown: list[dict[str, Any]] = []

    def look(t_s: float) -> None:
        text = page.look(t_s)
        if text and shown and t_s - shown[-1]["t"] < SAME_S:
            shown[-1]["text"] += text
        elif text:
            shown.append({"t": t_s, "text": text})

    def look_until(end_s: float) -> None:
        while (due_s := page.next_at_s()) is not None and due_s <= end_s:
            look(due_s)

    for event in case["events"]:
        look_until(event["t"])
        apply(page, event)
        look(event["t"])
    look_until(float("inf"))
    return {
        **case,
        "shown": [{"t": _rounded(entry["t"]), "text": entry["text"]} for entry in shown],
        "log": {
            "delivered": [_rounded(t) for t in page.log.delivered_at_s],
            "shown": [_rounded(t) for t in page.log.shown_at_s],
        },
        "qoe": {
            "delivered": _rounded(page.qoe.delivered),
            "shown": _rounded(page.qoe.shown),
        },
    }


def options(given: dict[str, Any]) -> Options:
    """The options of a case."""
    rest = {k: v for k, v in given.items() if k not in ("tds", "ttft_s")}
    tds = given.get("tds", _READING.tds)
    expectation = Expectation(given.get("ttft_s", _READING.ttft_s), tds or _READING.tds)
    return Options(expectation, is_paced=tds is not None, **rest)


def apply(page: Page, event: Event) -> None:
    """Tell `page` of one event."""
    t_s = event["t"]
    match event["type"]:
        case "delta":
            page.push(t_s, event["text"], event.get("tokens", 1))
        case "recount":
            page.recount(t_s, event["tokens"])
        case "end":
            page.end()
        case "speed":
            page.speed(t_s, event["tds"])
        case other:
            {"pause": page.pause, "resume": page.resume, "flush": page.flush}[other](t_s)


def _rounded(t_s: float) -> float:
    return round(t_s, 6)


def replayed(cases: list[Case]) -> str:
    """What `vectors.json` has to be, for the names, options and events of `cases`."""
    written = []
    for case in cases:
        lines = [
            f"    {json.dumps(key)}: {json.dumps(value)}"
            for key, value in play(case).items()
        ]
        written.append("  {\n" + ",\n".join(lines) + "\n  }")
    return "[\n" + ",\n".join(written) + "\n]\n"


if __name__ == "__main__":
    PATH.write_text(replayed(json.loads(PATH.read_text("utf-8"))), encoding="utf-8")
