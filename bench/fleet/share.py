"""Replicas that are played up to what the fleet decides next, each on its own.

Between two decisions about the whole fleet replicas have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bench.fleet.replica import Delivered, Figures, Outcome, Replica
from bench.fleet.timeline import Moment
from bench.load import PlannedStream
from telemetry.report import EngineReport

MakeReplica = Callable[[int, float], Replica]


class Engines(Protocol):
    """The engines of a fleet by the number of their replica, wherever they run.

    Whoever asks has played them up to that moment with `outcomes`.
    """

    def start(self, number: int, now_s: float) -> list[EngineReport]:
        """A new one is there; returns what it reports."""

    def give(
        self, number: int, now_s: float, request_id: str, stream: PlannedStream
    ) -> None:
        """Send it a stream now."""

    def outcomes(self, until: Moment) -> list[Outcome]:
        """What comes of their steps before `until`, and was not told before.

        All that bears on a decision at `until` is among it.
        """

    def set_speed(self, number: int, speed: float) -> None:
        """Over the profile's, from the next step on."""

    def drain(self, number: int) -> list[EngineReport]:
        """It accepts nothing more; returns what it reports."""

    def kill(self, number: int, now_s: float) -> list[Delivered]:
        """End it: every stream it had, with the tokens that came by now."""

    def demand_tokens(self) -> dict[int, float]:
        """Context of the live streams of each that was not killed."""

    def figures(self) -> list[Figures]:
        """What all of them have done, in the order of their numbers."""


class Share:
    """Engines in this process.

    Args:
        make: The replica of a number, from a moment on.
    """

    def __init__(self, make: MakeReplica) -> None:
        self._make = make
        self._replicas: dict[int, Replica] = {}

    def start(self, number: int, now_s: float) -> list[EngineReport]:
        replica = self._replicas[number] = self._make(number, now_s)
        return replica.take_reports()

    def give(
        self, number: int, now_s: float, request_id: str, stream: PlannedStream
    ) -> None:
        self._replicas[number].give(now_s, request_id, stream)

    def outcomes(self, until: Moment, lookahead_s: float = 0.0) -> list[Outcome]:
        """As in `Engines`; the steps of the last `lookahead_s` may start another time."""
        return [
            outcome
            for replica in self._replicas.values()
            if replica.next_moment < until
            for outcome in replica.play(until, lookahead_s)
        ]

    def set_speed(self, number: int, speed: float) -> None:
        self._replicas[number].set_speed(speed)

    def drain(self, number: int) -> list[EngineReport]:
        replica = self._replicas[number]
        replica.accepting = False
        replica.announce()
        return replica.take_reports()

    def kill(self, number: int, now_s: float) -> list[Delivered]:
        return self._replicas[number].kill(now_s)

    def demand_tokens(self) -> dict[int, float]:
        return {n: r.demand_tokens for n, r in self._replicas.items() if r.is_alive}

    def figures(self) -> list[Figures]:
        return [replica.figures for replica in self._replicas.values()]
