"""Streams that break off, and what their readers are shown."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pacer import Received, StreamBroken, paced

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Shown = list[tuple[float, str]]


def test_a_broken_stream_shows_what_came_and_then_raises(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        source = make_source(*burst(5), (0.1, ConnectionResetError("gone")))
        shown: Shown = []
        with pytest.raises(ConnectionResetError, match="gone"):
            await read(paced(source, tds=4.0), shown)
        assert "".join(text for _, text in shown) == " t0 t1 t2 t3 t4"
        assert source.is_closed

    run(main())


def test_an_error_waits_for_the_pace_where_the_end_does(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        source = make_source(*burst(3), (0.1, ValueError("a bug")))
        shown: Shown = []
        with pytest.raises(ValueError, match="a bug"):
            await read(paced(source, tds=4.0), shown)
        assert shown == [(0.25 * i, f" t{i}") for i in range(3)]

    run(main())


def test_an_answer_that_is_cut_is_an_error(
    run: Run, make_source: Any, read: Any, chunk: Any
) -> None:
    async def main() -> None:
        shown: Shown = []
        with pytest.raises(StreamBroken, match="in the middle of its answer"):
            await read(paced(make_source((0.0, chunk("Hi", 1)))), shown)
        assert "".join(text for _, text in shown) == "Hi"

    run(main())


def test_a_broken_stream_goes_on_as_one_text(
    run: Run, make_source: Any, read: Any, chunk: Any
) -> None:
    async def main() -> None:
        first = make_source(
            (0.1, chunk(" one", 1)), (0.1, chunk(" two", 2)), (1.0, OSError())
        )
        rest = make_source((0.0, chunk(" three", 3)), (0.0, chunk(" four", 4, "stop")))
        asked: list[Received] = []

        async def resume(received: Received) -> Any:
            asked.append(received)
            return rest

        shown = await read(paced(first, tds=4.0, resume=resume))
        assert "".join(text for _, text in shown) == " one two three four"
        assert (asked[0].text, asked[0].token_ids) == (" one two", (1, 2))
        # Broken at 1.2 s and asked half a second later; the reader had text until 0.6 s.
        assert asked[0].age_s == pytest.approx(1.7)
        assert asked[0].slack_s == pytest.approx(-1.1)
        assert first.is_closed
        assert rest.is_closed

    run(main())


def test_a_reader_reads_on_while_the_rest_is_asked_for(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        first = make_source(*burst(8), (0.0, OSError()))
        pacer = paced(
            first, tds=4.0, resume=lambda _: make_source(*burst(2)), at_end="pace"
        )
        assert [t for t, _ in await read(pacer)] == [0.25 * i for i in range(10)]

    run(main())


def test_three_breaks_without_a_word_between_them_are_enough(
    run: Run, make_source: Any, read: Any
) -> None:
    async def main() -> None:
        asked: list[Received] = []

        def resume(received: Received) -> Any:
            asked.append(received)
            return make_source((0.0, OSError(f"again {len(asked)}")))

        with pytest.raises(OSError, match="again 3"):
            await read(
                paced(make_source((0.0, "Hi"), (0.0, OSError("first"))), resume=resume)
            )
        assert len(asked) == 3

    run(main())


def test_breaks_with_text_between_them_go_on(run: Run, make_source: Any, read: Any) -> None:
    async def main() -> None:
        left = 9

        def resume(_: Received) -> Any:
            nonlocal left
            left -= 1
            return make_source((0.0, f" {left}"), *([(0.0, OSError())] if left else []))

        shown = await read(paced(make_source((0.0, OSError())), resume=resume))
        assert "".join(text for _, text in shown) == " 8 7 6 5 4 3 2 1 0"

    run(main())


def test_a_refusal_is_not_asked_again(run: Run, make_source: Any, read: Any) -> None:
    async def main() -> None:
        def resume(_: Received) -> Any:
            raise AssertionError("nobody was to ask")

        with pytest.raises(ValueError, match="a bug"):
            await read(paced(make_source((0.0, ValueError("a bug"))), resume=resume))

    run(main())
