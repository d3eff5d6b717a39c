"""Services that send several tokens a delta, and count none of them."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from pacer import paced

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Shown = list[tuple[float, str]]

# 16 tokens of Tekken.
SENTENCE = "Spring was moving in the air above and in the earth below and around him. "
TOKENS = 16


def chat(text: str, finish: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}]} | more


def took_s(shown: Shown) -> float:
    return float(shown[-1][0].expected) - float(shown[0][0].expected)  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 7, 37, 4000], ids="{} characters".format)
@pytest.mark.parametrize("gap_s", [0.0, 0.01], ids=["a burst", "an engine"])
def test_text_is_shown_at_the_pace_whatever_the_deltas(
    run: Run, make_source: Any, read: Any, size: int, gap_s: float
) -> None:
    async def main() -> None:
        text = SENTENCE * 20
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        source = make_source(
            *[(gap_s, chat(piece)) for piece in pieces], (0.0, chat("", "stop"))
        )
        shown = await read(paced(source, tds=4.0))
        assert "".join(piece for _, piece in shown) == text
        assert took_s(shown) == pytest.approx(20 * TOKENS / 4.0, rel=0.2)
        # A word at a time: nobody is shown a sentence at once.
        assert max(len(piece) for _, piece in shown) <= 16
        for (before_s, _), (after_s, _) in pairwise(shown):
            assert float(after_s.expected - before_s.expected) <= 1.0

    run(main())


def test_the_pace_goes_on_when_the_stream_has_ended(
    run: Run, make_source: Any, read: Any
) -> None:
    async def main() -> None:
        shown = await read(paced(make_source((0.0, SENTENCE)), tds=4.0))
        assert took_s(shown) == pytest.approx(TOKENS / 4.0, rel=0.2)

    run(main())


def test_a_reader_who_skips_to_the_end_is_there(
    run: Run, make_source: Any, read: Any
) -> None:
    async def main() -> None:
        pacer = paced(make_source((0.0, SENTENCE * 20)), tds=4.0)
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, pacer.pause)
        loop.call_later(9.0, pacer.skip_to_end)
        shown = await read(pacer)
        assert "".join(piece for _, piece in shown) == SENTENCE * 20
        assert shown[-1][0] == 9.0
        assert (pacer.is_paused, pacer.buffer_tokens) == (False, 0)

    run(main())


def test_a_total_that_comes_at_the_end_paces_what_is_left(
    run: Run, make_source: Any, read: Any
) -> None:
    """A tokenizer that writes this text in twice the tokens."""

    async def main() -> None:
        total = {"choices": [], "usage": {"completion_tokens": 2 * 20 * TOKENS}}
        source = make_source((0.0, chat(SENTENCE * 20, "stop")), (0.5, total))
        shown = await read(paced(source, tds=4.0))
        assert took_s(shown) == pytest.approx(2 * 20 * TOKENS / 4.0, rel=0.02)

    run(main())


@pytest.mark.parametrize(
    "more",
    [
        {"delta": {"tool_calls": [{"index": 0}]}},
        {"index": 1, "delta": {"content": "another answer " * 50}},
        {"delta": {"reasoning": "hm " * 50}},
    ],
    ids=["a call", "another choice", "reasoning"],
)
def test_what_is_not_shown_takes_no_time(
    run: Run, make_source: Any, read: Any, more: dict[str, object]
) -> None:
    async def main() -> None:
        told: list[Any] = []
        hidden = {"choices": [{"finish_reason": None} | more]}
        total = {"choices": [], "usage": {"completion_tokens": 40}}
        deltas = [chat(SENTENCE), hidden, chat(SENTENCE, "stop"), total]
        pacer = paced(
            make_source(*[(0.0, delta) for delta in deltas]),
            tds=4.0,
            on_tool_calls=told.append,
        )
        shown = await read(pacer)
        assert "".join(piece for _, piece in shown) == SENTENCE * 2
        assert took_s(shown) == pytest.approx(2 * TOKENS / 4.0, rel=0.2)
        assert told == [calls for calls in [more["delta"].get("tool_calls")] if calls]  # type: ignore[attr-defined]

    run(main())
