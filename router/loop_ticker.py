"""Something that a router does again and again in its own event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable


class LoopTicker:
    """Calls a method every `period_s` once it runs, also while nobody asks the router.

    In the router's own event loop: a ledger is not for two threads.

    Args:
        tick: A bound method; its object is not kept alive, and the calls end with it.
        period_s: Seconds between two calls.
    """

    def __init__(self, tick: Callable[[], object], period_s: float) -> None:
        self._tick = weakref.WeakMethod(tick)
        self._period_s = period_s
        self._is_running = False

    def start(self) -> None:
        """Begin, if there is an event loop and it has not begun yet."""
        if self._is_running:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._is_running = True
        loop.call_soon(self._run, loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        tick = self._tick()
        if tick is None:
            return
        loop.call_later(self._period_s, self._run, loop)
        # What this raises is the loop's to log; the next time is arranged already.
        tick()
