"""Streams, and readers who note what they are shown."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pacer import Pacer

Shown = list[tuple[float, str]]


class Source:
    """Yields items, each so many seconds after the one before; an exception is raised."""

    def __init__(self, *items: tuple[float, object]) -> None:
        self._items = items
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[object]:
        for gap_s, item in self._items:
            await asyncio.sleep(gap_s)
            if isinstance(item, Exception):
                raise item
            yield item

    async def close(self) -> None:
        self.is_closed = True


def _burst(count: int, gap_s: float = 0.0) -> list[tuple[float, object]]:
    """Tokens that are counted, each of them in itself the end of an answer."""
    return [(gap_s, _chunk(f" t{i}", i, "stop")) for i in range(count)]


async def _read(pacer: Pacer, shown: Shown | None = None) -> Shown:
    """What is shown, and when; what is shown at one time is one entry."""
    shown = [] if shown is None else shown
    now_s = asyncio.get_running_loop().time
    async for text in pacer:
        before = shown.pop()[1] if shown and shown[-1][0] == now_s() else ""
        shown.append((pytest.approx(now_s(), abs=1e-6), before + text))
    return shown


def _chunk(text: str, token: int, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"text": text, "token_ids": [token], "finish_reason": finish}]}


@pytest.fixture
def make_source() -> type[Source]:
    return Source


@pytest.fixture
def burst() -> Any:
    return _burst


@pytest.fixture
def read() -> Any:
    return _read


@pytest.fixture
def chunk() -> Any:
    return _chunk
