"""What time it is for a real engine: the wall's, or that which its thread ran."""

from __future__ import annotations

import time
from typing import Protocol

CLOCKS = ("cpu", "wall")


class Clock(Protocol):
    """Seconds since any moment, never going back."""

    def now_s(self) -> float: ...

    def pass_until(self, at_s: float) -> None:
        """Let the time pass in which the engine has nothing to do."""


class WallClock:
    """Everything counts, also what other programs take from the engine."""

    def now_s(self) -> float:
        return time.perf_counter()

    def pass_until(self, at_s: float) -> None:
        while (left_s := at_s - self.now_s()) > 0:
            time.sleep(left_s)


class CpuClock:
    """Stands still while the thread that made it does not run, and skips pauses."""

    def __init__(self) -> None:
        self._skipped_s = 0.0

    def now_s(self) -> float:
        return time.thread_time() + self._skipped_s

    def pass_until(self, at_s: float) -> None:
        self._skipped_s += max(0.0, at_s - self.now_s())


def clock_named(name: str) -> Clock:
    """One of `CLOCKS`."""
    return CpuClock() if name == "cpu" else WallClock()
