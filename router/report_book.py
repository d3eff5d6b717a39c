"""The last report of each replica, and how old it is on the router's own clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

from telemetry.report import EngineReport
from telemetry.routing_stats import from_routing_stats


@dataclass(frozen=True, slots=True)
class _LastChange:
    version: tuple[str, int]
    at_s: float


class ReportBook:
    """Reads reports out of routing stats, which carry no time that this host could trust.

    Invariants:
        The age of a report is the time since its (epoch, seq) last changed here, however
            often Serve repeats it and even if garbage came in between.
        Bounded: one entry for each replica retained.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._changes: dict[Hashable, _LastChange] = {}

    def read(self, replica: Hashable, stats: object) -> tuple[EngineReport | None, float]:
        """The report in `stats` and its age in seconds; (None, 0) without one."""
        report = from_routing_stats(stats)
        if report is None:
            return None, 0.0
        version, now_s = (report.epoch, report.seq), self._now_s()
        change = self._changes.get(replica)
        if change is None or change.version != version:
            change = self._changes[replica] = _LastChange(version, now_s)
        return report, now_s - change.at_s

    def retain(self, replicas: Collection[Hashable]) -> None:
        """Forget every replica that is not one of `replicas`."""
        self._changes = {r: c for r, c in self._changes.items() if r in replicas}
