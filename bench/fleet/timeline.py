"""The one virtual time of a fleet, and what happens in it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import IntEnum
from itertools import count


class Clock:
    """The fleet's time; routers read it by calling it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Order(IntEnum):
    """What goes first of several things at one moment.

    As in a replay of one engine, a stream enters the step that starts when it arrives.
    """

    FAULT = 0
    STEP_ENDS = 1
    REPORT = 2
    STATS = 3
    SCALE = 4
    MOVE = 5
    ARRIVAL = 6
    STEP_STARTS = 7


class Timeline:
    """Events, played in order of time; the time is that of `clock`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count()
        self._events: list[tuple[float, Order, int, Callable[[], None]]] = []

    def at(self, at_s: float, order: Order, happen: Callable[[], None]) -> None:
        """Let this happen then."""
        heapq.heappush(self._events, (at_s, order, next(self._numbers), happen))

    def play_next(self) -> None:
        """Go on to the next event, and let it happen."""
        self._clock.now_s, _, _, happen = heapq.heappop(self._events)
        happen()
