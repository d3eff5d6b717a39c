"""What is shown of a stream, and when, on a clock that jumps."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pacer import ExpectationError, paced
from qoe import Expectation, area_qoe

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Shown = list[tuple[float, str]]


def test_a_burst_is_shown_at_the_pace(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        pacer = paced(make_source(*burst(4)), tds=4.0)
        assert await read(pacer) == [(0.25 * i, f" t{i}") for i in range(4)]

    run(main())


def test_who_asks_for_it_is_shown_what_is_left_when_the_stream_ends(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        pacer = paced(make_source(*burst(9), (0.3, "!")), tds=4.0, at_end="flush")
        assert await read(pacer) == [
            (0.0, " t0"),
            (0.25, " t1"),
            (0.3, "".join(f" t{i}" for i in range(2, 9)) + "!"),
        ]

    run(main())


def test_a_request_is_awaited(run: Run, make_source: Any, read: Any) -> None:
    async def request() -> Any:
        await asyncio.sleep(2.0)
        return make_source((0.0, "Hi."))

    async def main() -> None:
        pacer = paced(request())
        assert await read(pacer) == [(2.0, "Hi.")]
        assert pacer.log.delivered_at_s == [pytest.approx(2.0)]

    run(main())


def test_a_request_that_fails_raises_its_error(run: Run, read: Any) -> None:
    async def request() -> Any:
        raise ValueError("refused")

    async def main() -> None:
        with pytest.raises(ValueError, match="refused"):
            await read(paced(request()))

    run(main())


def test_the_log_scores_what_came_and_what_was_shown(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        source = make_source(*burst(2), (4.0, " late"), *burst(9))
        pacer = paced(source, tds=4.0, ttft_s=0.5)
        await read(pacer)
        expected = Expectation(0.5, 4.0)
        assert pacer.qoe.delivered == area_qoe(pacer.log.delivered_at_s, expected)
        assert pacer.qoe.shown == area_qoe(pacer.log.shown_at_s, expected) < 1.0
        assert pacer.slack_s <= 0.25

    run(main())


def test_reasoning_is_told_and_not_shown(run: Run, make_source: Any, read: Any) -> None:
    async def main() -> None:
        thinking = [
            (0.2, {"choices": [{"delta": {"reasoning_content": f"{i}"}}]}) for i in range(9)
        ]
        answer = (
            0.2,
            {"choices": [{"delta": {"content": "Yes"}, "finish_reason": "stop"}]},
        )
        told: list[str] = []
        pacer = paced(make_source(*thinking, answer), on_reasoning=told.append)
        assert await read(pacer) == [(2.0, "Yes")]
        assert told == list("012345678")
        assert pacer.log.delivered_at_s == [pytest.approx(2.0)]

    run(main())


def test_a_reader_pauses_changes_the_pace_and_skips_to_the_end(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        late = [(60.0, " a word"), (0.0, " and the end")]
        pacer = paced(make_source(*burst(20), *late), tds=4.0)
        loop = asyncio.get_running_loop()
        loop.call_later(0.6, pacer.pause)
        loop.call_later(2.6, pacer.resume)
        loop.call_later(2.7, lambda: pacer.speed(8.0))
        loop.call_later(3.05, pacer.skip_to_end)
        shown = await read(pacer)
        assert [(t, text) for t, text in shown[:6]] == [
            (0.0, " t0"),
            (0.25, " t1"),
            (0.5, " t2"),
            (2.725, " t3"),
            (2.85, " t4"),
            (2.975, " t5"),
        ]
        rest = "".join(f" t{i}" for i in range(6, 20))
        assert shown[6:] == [(3.05, rest), (60.0, " a word and the end")]

    run(main())


def test_a_client_can_say_where_its_reader_is(
    run: Run, make_source: Any, read: Any, chunk: Any
) -> None:
    async def main() -> None:
        first = {"id": "cmpl-1", "choices": [{"text": " one", "finish_reason": None}]}
        pacer = paced(make_source((1.0, first), *[(0.0, chunk(" more", 1, "stop"))] * 3))
        assert (pacer.request_id, pacer.buffer_tokens, pacer.is_paused) == (None, 0, False)
        asyncio.get_running_loop().call_later(0.5, pacer.pause)
        reading = asyncio.create_task(read(pacer))
        await asyncio.sleep(2.0)
        assert (pacer.request_id, pacer.buffer_tokens, pacer.is_paused) == (
            "cmpl-1",
            4,
            True,
        )
        pacer.resume()
        assert "".join(text for _, text in await reading) == " one more more more"

    run(main())


def test_no_pace_from_now_on_shows_text_as_it_comes(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        pacer = paced(make_source(*burst(4), (9.0, " end.")), tds=0.1)
        asyncio.get_running_loop().call_later(1.0, lambda: pacer.speed(None))
        assert await read(pacer) == [(0.0, " t0"), (1.0, " t1 t2 t3"), (9.0, " end.")]

    run(main())


def test_nobody_is_paced_where_nobody_reads(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        pacer = paced(make_source(*burst(4), (0.0, ".")), profile="none")
        assert await read(pacer) == [(0.0, " t0 t1 t2 t3.")]

    run(main())


def test_a_reader_who_is_slow_gets_no_jump(run: Run, make_source: Any, burst: Any) -> None:
    async def main() -> None:
        pacer = paced(make_source(*burst(100), (100.0, "")), tds=4.0)
        sizes = []
        async for text in pacer:
            sizes.append(text.count("t"))
            await asyncio.sleep(5.0)
            if len(sizes) == 5:
                await pacer.aclose()
        assert max(sizes) == 1

    run(main())


@pytest.mark.parametrize(
    "stream", [["a"], iter("a"), None, "text"], ids=["list", "iterator", "none", "text"]
)
def test_a_stream_of_a_client_that_blocks_is_refused(
    run: Run, read: Any, stream: Any
) -> None:
    async def main() -> None:
        with pytest.raises(
            TypeError, match=r"must be an async iterable, such as AsyncOpenAI"
        ):
            await read(paced(stream))

    run(main())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "skimming"}, "profile='skimming' .* one of reading, listening, none"),
        ({"tds": 0}, "tds=0 is invalid"),
        ({"ttft_s": -1}, "ttft_s=-1 is invalid"),
        ({"catch_up": 0.9}, "catch_up=0.9 is invalid"),
        ({"hold_s": -1}, "hold_s=-1 is invalid"),
        ({"at_end": "wait"}, "at_end='wait' is invalid: it must be flush or pace"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_option_is_refused_by_name(
    run: Run, make_source: Any, options: dict[str, Any], message: str
) -> None:
    async def main() -> None:
        source = make_source()
        with pytest.raises(ValueError, match=message) as refused:
            paced(source, **options)
        assert isinstance(refused.value, ExpectationError) == ("at_end" not in options)

    run(main())
