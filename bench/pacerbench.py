"""`python -m bench.pacerbench`: what pacing costs a process that shows many streams.

All run on one event loop, in real time: the shares are CPU time by wall time, of one core.
Tokens come four times as fast as they are read, as from a service that spends its surplus,
or one by one at the pace of reading, when there is no buffer to read from.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from pacer import paced

STREAMS = 200
DURATION_S = 10.0
TDS = 4.8
SPEEDS = (4.0, 1.0)


class PacerResult(msgspec.Struct, frozen=True, kw_only=True):
    """One way for tokens to come.

    Attributes:
        streams: Shown at the same time.
        speed: Tokens that come for each that is read.
        paced_share: CPU time by wall time with the pacer, 1 is one core,
        source_share: and of reading the same streams as they come.
        shown_per_s: Texts shown a second, all streams together.
    """

    streams: int
    speed: float
    paced_share: float
    source_share: float
    shown_per_s: float


def measure_pacer(
    streams: int = STREAMS, duration_s: float = DURATION_S, speed: float = SPEEDS[0]
) -> PacerResult:
    """Show `streams` streams that take `duration_s` to read, once paced and once not."""

    async def with_pacer(number: int) -> int:
        pacer = paced(_stream(number, duration_s, speed), tds=TDS)
        return len([text async for text in pacer])

    async def without(number: int) -> int:
        return len([chunk async for chunk in _stream(number, duration_s, speed)])

    shown, paced_share = _share(with_pacer, streams, duration_s)
    _, source_share = _share(without, streams, duration_s)
    return PacerResult(
        streams=streams,
        speed=speed,
        paced_share=round(paced_share, 4),
        source_share=round(source_share, 4),
        shown_per_s=round(shown / duration_s, 1),
    )


def table(measured: Sequence[PacerResult]) -> Table:
    """The results, a row each."""
    table = Table(title="paced streams in one process", title_justify="left")
    for heading in ("streams", "tokens come", "CPU, paced", "unpaced", "texts/s"):
        table.add_column(heading, justify="right")
    for result in measured:
        table.add_row(
            f"{result.streams:,}",
            f"{result.speed:g} x the pace",
            f"{result.paced_share:.1%}",
            f"{result.source_share:.1%}",
            f"{result.shown_per_s:,.0f}",
        )
    return table


def _share(
    read: Callable[[int], Coroutine[Any, Any, int]], streams: int, duration_s: float
) -> tuple[int, float]:
    """What all readers were shown, and CPU seconds a second of reading."""

    async def main() -> int:
        return sum(await asyncio.gather(*(read(number) for number in range(streams))))

    began_s = time.process_time()
    shown = asyncio.run(main())
    return shown, (time.process_time() - began_s) / duration_s


async def _stream(
    number: int, duration_s: float, speed: float
) -> AsyncIterator[dict[str, Any]]:
    """Chunks of a completion, each stream in a rhythm of its own."""
    gap_s = 1.0 / (TDS * speed)
    await asyncio.sleep(gap_s * (number % 20) / 20)
    for _ in range(int(duration_s * TDS)):
        yield {"choices": [{"text": " word", "finish_reason": None}]}
        await asyncio.sleep(gap_s)
    yield {"choices": [{"text": "", "finish_reason": "stop"}]}


if __name__ == "__main__":
    Console().print(table([measure_pacer(speed=speed) for speed in SPEEDS]))
