"""The last report of each replica, and how old it is on the router's own clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

from telemetry.report import EngineReport, contradiction
from telemetry.routing_stats import from_routing_stats

# An engine start is an epoch. The last few are enough to know a straggler by.
MAX_KNOWN_EPOCHS = 8
# Within this, a router is still meeting the replicas that were there before it.
NEW_ROUTER_S = 10.0


@dataclass(slots=True)
class Known:
    """What a replica said last.

    Attributes:
        report: Its newest report.
        changed_at_s: When that came, on the router's clock.
        last_report_at_s: When it last reported, if only the same again.
        started_at_s: When its engine first reported after the router knew the fleet;
            minus infinity for one that has been there from the beginning.
        was_direct: Whether it came from the replica itself and not from Serve.
        repeats: Whether the replica says the same again while there is no news.
        earlier_epochs: Starts of its engine that are over.
    """

    report: EngineReport
    changed_at_s: float
    last_report_at_s: float
    started_at_s: float
    was_direct: bool
    repeats: bool = False
    earlier_epochs: tuple[str, ...] = ()

    @property
    def silent_since_s(self) -> float:
        """Since when it has owed another word; in infinity for one that owes none.

        An engine at work owes news. A replica whose engine is idle owes a repetition, if
        it is known to repeat itself.
        """
        if not self.report.is_idle:
            return self.changed_at_s
        return self.last_report_at_s if self.repeats else math.inf


class ReportBook:
    """Keeps the newest of what replicas broadcast and of what Serve's routing stats carry.

    Neither carries a time that this host could trust.

    Invariants:
        The newest (epoch, seq) counts, whichever way it came, and an epoch that is over
            never comes back.
        The age of a report is the time since its (epoch, seq) last changed here, however
            often Serve repeats it and even if garbage came in between.
        A report that contradicts itself or the one before it is not taken in; until the
            next sound one there is nothing to go by.
        No age is negative, whatever the clock does.
        Bounded: one entry for each replica retained.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._opened_at_s = now_s()
        self._known: dict[Hashable, Known] = {}
        self._silent: set[Hashable] = set()
        self._doubts: dict[Hashable, str] = {}

    def on_report(
        self, replica: Hashable, report: EngineReport, is_direct: bool = True
    ) -> bool:
        """Take note of a report; whether it says anything new."""
        known, now_s = self._known.get(replica), self._now_s()
        if known is not None and not _is_newer(report, known):
            if is_direct and report.seq == known.report.seq:
                known.last_report_at_s, known.repeats = now_s, True
            return False
        if doubt := contradiction(report, None if known is None else known.report):
            was_believed = replica not in self._doubts
            self._doubts[replica] = doubt
            return was_believed
        self._doubts.pop(replica, None)
        if known is None:
            joined_at_s = self._joined_at_s(now_s)
            self._known[replica] = Known(report, now_s, now_s, joined_at_s, is_direct)
            return True
        if known.report.epoch != report.epoch:
            over = (*known.earlier_epochs, known.report.epoch)
            known.earlier_epochs = over[-MAX_KNOWN_EPOCHS:]
            known.started_at_s = now_s
        known.report, known.changed_at_s, known.was_direct = report, now_s, is_direct
        known.last_report_at_s = now_s
        return True

    def read(self, replica: Hashable, stats: object) -> bool:
        """Take note of the report in routing stats; whether there is any news in them.

        Stats without a report say that there is none, unless the replica says otherwise.
        """
        report = from_routing_stats(stats)
        was_silent = replica in self._silent
        if report is None:
            self._silent.add(replica)
            return not was_silent
        self._silent.discard(replica)
        return self.on_report(replica, report, is_direct=False) or was_silent

    def last(self, replica: Hashable) -> Known | None:
        """What `replica` said last, if it is still saying anything."""
        known = self._known.get(replica)
        if known is None or replica in self._doubts:
            return None
        return None if replica in self._silent and not known.was_direct else known

    def is_new(self, replica: Hashable) -> bool:
        """Whether it never reported."""
        return replica not in self._known and replica not in self._doubts

    def doubt(self, replica: Hashable) -> str:
        """What is wrong with what `replica` said last; empty for nothing."""
        return self._doubts.get(replica, "")

    def age_s(self, replica: Hashable) -> float:
        """Seconds since `replica` last said something new; 0 if it never did."""
        known = self._known.get(replica)
        return 0.0 if known is None else self._now_s() - known.changed_at_s

    def retain(self, replicas: Collection[Hashable]) -> None:
        """Forget every replica that is not one of `replicas`."""
        self._known = {r: k for r, k in self._known.items() if r in replicas}
        self._silent.intersection_update(replicas)
        self._doubts = {r: d for r, d in self._doubts.items() if r in replicas}

    def clock_went_back(self, to_s: float) -> None:
        """What was reported after `to_s` counts as of then."""
        for known in self._known.values():
            known.changed_at_s = min(known.changed_at_s, to_s)
            known.last_report_at_s = min(known.last_report_at_s, to_s)

    def _joined_at_s(self, now_s: float) -> float:
        """When a replica that is new to this router started, as far as that matters.

        Those that are there when the router is new have all just been met by it, and none
        is newer than the others.
        """
        return now_s if now_s - self._opened_at_s > NEW_ROUTER_S else -math.inf


def _is_newer(report: EngineReport, known: Known) -> bool:
    if report.epoch == known.report.epoch:
        return report.seq > known.report.seq
    return report.epoch not in known.earlier_epochs
