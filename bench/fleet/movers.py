"""The movers of a fleet in virtual time, each with what it heard itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.fleet.members import Member
from router.mover import PERIOD_S, Mover, Waiting
from telemetry.report import EngineReport

__all__ = ["PERIOD_S", "Move", "Movers"]


class Move(NamedTuple):
    """A stream that goes on elsewhere."""

    request_id: str
    to: Member


class Movers:
    """One mover for each replica of the fleet."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._by_replica: dict[int, Mover] = {}
        self._last: dict[int, EngineReport] = {}
        self._num_moved: Counter[str] = Counter()

    def hear(self, replica: int, report: EngineReport) -> None:
        """A report comes in at all of them."""
        self._last[replica] = report
        for mover in self._by_replica.values():
            mover.hear(replica, report)

    def moves(
        self, member: Member, waiting: Iterable[Waiting], serving: Sequence[Member]
    ) -> Iterator[Move]:
        """What `member` gives to others now; each is taken as done.

        Args:
            member: One of `serving`.
            waiting: Its streams without KV memory.
            serving: Those that may be sent a stream.
        """
        by_number = {peer.number: peer for peer in serving}
        known = (replace(w, num_moved=self._num_moved[w.request_id]) for w in waiting)
        for move in self._mover(member.number).moves(known, list(by_number)):
            self._num_moved[move.request_id] += 1
            number = move.to
            assert isinstance(number, int)
            yield Move(move.request_id, by_number[number])

    def _mover(self, number: int) -> Mover:
        mover = self._by_replica.get(number)
        if mover is None:
            mover = self._by_replica[number] = Mover(number, self._now_s)
            for peer, report in self._last.items():
                mover.hear(peer, report)
        return mover
