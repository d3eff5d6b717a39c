"""Who leaves, leaves nothing behind."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pacer import StreamBroken, paced

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Shown = list[tuple[float, str]]


def test_a_cancelled_reader_leaves_nothing_behind(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        before = asyncio.all_tasks()
        source = make_source(*burst(3), (100.0, " never"))
        reading = asyncio.create_task(read(paced(source)))
        await asyncio.sleep(0.3)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert asyncio.all_tasks() == before
        assert source.is_closed

    run(main())


def test_a_reader_who_breaks_off_leaves_nothing_behind(
    run: Run, make_source: Any, burst: Any
) -> None:
    async def main() -> None:
        before = asyncio.all_tasks()
        source = make_source(*burst(3), (100.0, " never"))
        pacer = paced(source)
        async for _ in pacer:
            break
        gc.collect()
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == before
        assert source.is_closed

    run(main())


def test_a_pacer_closed_from_elsewhere_ends_its_reader(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        source = make_source(*burst(3), (100.0, " never"))
        pacer = paced(source)
        reading = asyncio.create_task(read(pacer))
        await asyncio.sleep(0.3)
        await pacer.aclose()
        await pacer.aclose()
        assert len(await reading) == 2
        assert source.is_closed

    run(main())


def test_a_pacer_that_nobody_reads_closes_its_stream(run: Run, make_source: Any) -> None:
    async def main() -> None:
        source = make_source()
        async with paced(source):
            pass
        assert source.is_closed

    run(main())


def test_a_request_that_nobody_sent_is_not_sent(run: Run) -> None:
    async def request() -> Any:
        raise AssertionError("nobody was to ask")

    async def main() -> None:
        async with paced(request()):
            pass

    run(main())


def test_a_reading_that_is_cancelled_elsewhere_is_no_end(
    run: Run, make_source: Any, burst: Any, read: Any
) -> None:
    async def main() -> None:
        pacer = paced(make_source(*burst(3), (100.0, " never")))
        reading = asyncio.create_task(read(pacer))
        await asyncio.sleep(0.3)
        assert pacer._pump is not None
        pacer._pump.cancel()
        with pytest.raises(StreamBroken, match="cancelled"):
            await reading

    run(main())


def test_a_stream_is_read_once(run: Run, make_source: Any, burst: Any, read: Any) -> None:
    async def main() -> None:
        pacer = paced(make_source(*burst(1)))
        await read(pacer)
        with pytest.raises(RuntimeError, match="read once"):
            await read(pacer)

    run(main())
