"""The one virtual time of a fleet, and what happens in it."""

from __future__ import annotations

import heapq
import math
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
    ARRIVAL = 5
    STEP_STARTS = 6


# When something happens, in seconds, and what: moments are compared as tuples are.
Moment = tuple[float, Order]
NEVER: Moment = (math.inf, Order.STEP_STARTS)


class Timeline:
    """Events, played in order of time; the time is that of `clock`.

    Of several at one moment, those of the replica with the lower number go first, and of
    one replica the one that was entered first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count()
        self._events: list[tuple[float, Order, int, int, Callable[[], None]]] = []

    @property
    def next_moment(self) -> Moment:
        """Of the next event; `NEVER` without any."""
        return self._events[0][:2] if self._events else NEVER

    def at(
        self, at_s: float, order: Order, happen: Callable[[], None], replica: int = 0
    ) -> None:
        """Let this happen then, which is not in the past."""
        assert at_s >= self._clock.now_s, "what is past cannot be changed"
        event = at_s, order, replica, next(self._numbers), happen
        heapq.heappush(self._events, event)

    def play_next(self) -> None:
        """Go on to the next event, and let it happen."""
        self._clock.now_s, *_, happen = heapq.heappop(self._events)
        happen()
