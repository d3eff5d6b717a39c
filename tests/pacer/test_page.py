"""Whatever a service and a reader do: one text, in order, in whole characters."""

from typing import Any

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from pacer.page import Options, Page
from pacer.vectors import apply, play
from qoe import Expectation

Event = dict[str, Any]

# On a network, in an engine that lends its memory, and in one packet.
GAPS_S = st.one_of(st.floats(0.05, 0.3), st.just(1.0), st.just(0.0))
TEXTS = st.sampled_from(
    [
        *(" word", "un", "e", "\u0301", "\u6f22\u5b57", "", "a b", "\n"),
        *("\U0001f1eb", "\U0001f1f7", "\U0001f44d", "\U0001f3fd"),
        *("\U0001f468\u200d", "\U0001f469"),
    ]
)
DELTA = st.fixed_dictionaries(
    {
        "type": st.just("delta"),
        "text": TEXTS,
        "tokens": st.one_of(st.none(), st.integers(0, 3)),
    }
)
WISH = st.one_of(
    st.sampled_from([{"type": "pause"}, {"type": "resume"}, {"type": "flush"}]),
    st.fixed_dictionaries(
        {"type": st.just("speed"), "tds": st.one_of(st.none(), st.floats(1.0, 20.0))}
    ),
)
SEVERAL = st.sampled_from(
    [
        {"type": "delta", "text": text, "tokens": tokens}
        for text, counts in {
            " w": [1, 2, None],
            " several words": [2, 5, None],
            "\u6f22\u5b57\u304b": [2, 3, None],
            "er": [1, None],
            "\n": [1, None],
        }.items()
        for tokens in counts
    ]
)
OPTIONS = st.fixed_dictionaries(
    {
        "tds": st.one_of(st.none(), st.floats(1.0, 20.0)),
        "at_end": st.sampled_from(["flush", "pace"]),
        "whole_words": st.booleans(),
        "hold_s": st.sampled_from([0.0, 0.1, 5.0]),
    }
)


def timed(events: list[tuple[float, Event]]) -> list[Event]:
    """Events at their times; in the end the reader is there, and the stream ends."""
    at_s, done = 0.0, []
    for gap_s, event in [*events, (0.1, {"type": "resume"}), (0.1, {"type": "end"})]:
        at_s += gap_s
        done.append({"t": at_s, **event})
    return done


@settings(deadline=None, max_examples=200)
@given(
    events=st.lists(st.tuples(GAPS_S, st.one_of(DELTA, DELTA, WISH)), max_size=30),
    options=OPTIONS,
)
def test_the_reader_gets_one_text(
    events: list[tuple[float, Event]], options: dict[str, Any]
) -> None:
    case = play({"name": "any", "options": options, "events": timed(events)})
    came = "".join(event.get("text", "") for event in case["events"])
    assert "".join(entry["text"] for entry in case["shown"]) == came
    delivered, shown = case["log"]["delivered"], case["log"]["shown"]
    assert len(delivered) == len(shown)
    assert shown == sorted(shown)
    assert all(d <= s for d, s in zip(delivered, shown, strict=True))
    assert 0.0 <= case["qoe"]["shown"] <= 1.0


@settings(deadline=None, max_examples=200)
@given(
    events=st.lists(st.tuples(GAPS_S, st.one_of(DELTA, DELTA, WISH)), max_size=30),
    options=OPTIONS,
)
def test_a_paused_reader_is_shown_nothing_but_what_a_flush_shows(
    events: list[tuple[float, Event]], options: dict[str, Any]
) -> None:
    case = play({"name": "any", "options": options, "events": timed(events)})
    quiet_since_s = None
    for event in case["events"]:
        if event["type"] == "resume" and quiet_since_s is not None:
            for entry in case["shown"]:
                assert not quiet_since_s + 1e-3 < entry["t"] < event["t"] - 1e-3, entry
            quiet_since_s = None
        elif event["type"] == ("pause" if quiet_since_s is None else "flush"):
            quiet_since_s = event["t"]


@settings(deadline=None, max_examples=200)
@given(
    events=st.lists(st.tuples(GAPS_S, DELTA), max_size=30),
    options=OPTIONS.map(lambda options: options | {"hold_s": 60.0}),
)
def test_every_character_is_shown_whole(
    events: list[tuple[float, Event]], options: dict[str, Any]
) -> None:
    case = play({"name": "any", "options": options, "events": timed(events)})
    came = "".join(event.get("text", "") for event in case["events"])
    ends, at = {0}, 0
    for cluster in regex.findall(r"\X", came):
        at += len(cluster)
        ends.add(at)
    at = 0
    for entry in case["shown"]:
        at += len(entry["text"])
        assert at in ends, entry


@settings(deadline=None, max_examples=200)
@given(
    deltas=st.lists(st.tuples(GAPS_S, SEVERAL), min_size=1, max_size=40),
    tds=st.floats(1.0, 20.0),
)
def test_text_follows_the_ideal_line(deltas: list[tuple[float, Event]], tds: float) -> None:
    """However many tokens a delta has, and whether or not somebody counts them."""
    case = play(
        {
            "name": "any",
            "options": {"tds": tds},
            "events": timed(deltas),
        }
    )
    delivered, shown = case["log"]["delivered"], case["log"]["shown"]
    late_s = 0.0
    are_counted = all(delta["tokens"] for _, delta in deltas)
    for i, (came_s, shown_s) in enumerate(zip(delivered, shown, strict=True)):
        line_s = delivered[0] + i / tds
        assert shown_s >= max(came_s, line_s) - 1e-5
        if not are_counted:
            # A token that was estimated may go on in later deltas.
            continue
        # Nobody falls further behind than a token came late, and was held.
        late_s = max(late_s, came_s + 0.1 - line_s, 0.0)
        assert shown_s <= line_s + late_s + 1e-5


def test_events_of_the_cases_are_known() -> None:
    page = Page(Options(Expectation(1.0, 4.0)))
    with pytest.raises(KeyError, match="rewind"):
        apply(page, {"t": 0.0, "type": "rewind"})


def test_a_clock_that_looks_again_and_again_changes_nothing() -> None:
    often, once = (Page(Options(Expectation(1.0, 4.0))) for _ in range(2))
    for page in (often, once):
        page.push(0.0, "abcdefgh", 4)
        page.end()
    texts = [often.look(0.01 * i) for i in range(100)]
    assert [text for text in texts if text] == ["ab", "cd", "ef", "gh"]
    assert once.look(0.0) == "ab"
    assert once.tokens_left == 3
    assert not once.is_done
    assert often.is_done
