"""Who is listed, how each of them stands, and who is to be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import is_

from router.ledger import Replica
from router.report_book import Known, ReportBook
from router.standing import AgeLimits, Standing, judge
from telemetry.report import EngineReport

# A replica, and its routing stats.
Candidate = tuple[Replica, object]


class Roster:
    """Keeps apart who stands worse than others: the others are compared without them.

    Invariants:
        Each replica is judged by itself.
        Somebody is a member wherever a replica is listed.
        Between two looks nobody's standing changes.

    Args:
        now_s: Monotonic clock.
        limits: How old a report may be.

    Attributes:
        book: The reports as they came.
        members: Those that stand best, in the order of the candidates.
        listed_at: Where each of them was in the candidates.
        left_out: The others.
        standing: How the members stand.
        changes: How often somebody's standing has changed.
    """

    def __init__(self, now_s: Callable[[], float], limits: AgeLimits) -> None:
        self.book = ReportBook(now_s)
        self.members: list[Replica] = []
        self.listed_at: list[int] = []
        self.standing = Standing.REPORTS
        self.changes = 0
        self._limits = limits
        self._candidates: list[Candidate] = []
        self._listed: list[Replica] = []
        self._stats: list[object] = []
        self._standings: dict[Replica, Standing] = {}
        self._looked_at_s = self._look_again_s = -math.inf
        self.left_out: list[Replica] = []

    @property
    def oldest_report_at_s(self) -> float:
        """Since when somebody who is no member, and not away, has owed another word."""
        owes_since_s = (_owes_since_s(self.book.last(r)) for r in self.left_out)
        return min(owes_since_s, default=math.inf)

    def set_limits(self, limits: AgeLimits) -> None:
        """Judge by these from the next look on."""
        if limits is not self._limits:
            self._limits = limits
            self._look_again_s = -math.inf

    def on_report(self, replica: Replica, report: EngineReport) -> bool:
        """Take note of a report; whether it says anything new."""
        has_news = self.book.on_report(replica, report)
        self._learned(replica)
        return has_news

    def take(self, candidates: Sequence[Candidate]) -> Sequence[Replica]:
        """These are listed now; returns those whose routing stats say something new."""
        known = self._candidates
        if len(candidates) == len(known) and all(map(is_, candidates, known)):
            return ()
        replicas, stats = map(list, zip(*candidates, strict=True))
        before = dict(zip(self._listed, self._stats, strict=True))
        if replicas != self._listed:
            self._listed = replicas
            self._look_again_s = -math.inf
        # Whoever gives the same pairs again is spared the rest of this.
        self._candidates, self._stats = list(candidates), stats
        unread = object()
        news = [
            replica
            for replica, new in zip(replicas, stats, strict=True)
            if before.get(replica, unread) is not new and self.book.read(replica, new)
        ]
        for replica in news:
            self._learned(replica)
        return news

    def look(self, now_s: float) -> bool:
        """Judge everybody, if somebody may stand differently; whether members changed."""
        if self._looked_at_s <= now_s <= self._look_again_s:
            return False
        if now_s < self._looked_at_s:
            self.book.clock_went_back(now_s)
        judged = [judge(self.book.last(r), now_s, self._limits) for r in self._listed]
        standings = {r: j.standing for r, j in zip(self._listed, judged, strict=True)}
        self._looked_at_s = now_s
        self._look_again_s = min((j.until_s for j in judged), default=math.inf)
        # Candidates in another order are other rows.
        if [*standings.items()] == [*self._standings.items()]:
            return False
        self._standings = standings
        self.changes += 1
        return self._choose_members()

    def untried(self, is_busy: Callable[[Replica], object]) -> int | None:
        """Where a candidate is that never reported, and has nothing to answer for.

        An engine may have nothing to say before its first stream.
        """
        for replica in self.left_out:
            if self.book.is_new(replica) and not is_busy(replica):
                return self._listed.index(replica)
        return None

    def faults(self) -> str:
        """Who has no report to go by, and why."""
        at_fault = (Standing.LATE, Standing.SILENT)
        return "; ".join(
            f"{r} {self._fault(r)}" for r, s in self._standings.items() if s in at_fault
        )

    def _learned(self, replica: Replica) -> None:
        """Look again when `replica` will stand differently by what is known of it now."""
        known = self.book.last(replica)
        now_s = self._looked_at_s if known is None else known.last_report_at_s
        standing, until_s = judge(known, now_s, self._limits)
        if standing is not self._standings.get(replica, standing):
            until_s = -math.inf
        self._look_again_s = min(self._look_again_s, until_s)

    def _choose_members(self) -> bool:
        standings = self._standings
        self.standing = min(standings.values(), default=Standing.REPORTS)
        at = [i for i, r in enumerate(self._listed) if standings[r] is self.standing]
        members, self.listed_at = [self._listed[i] for i in at], at
        self.left_out = [r for r in self._listed if r not in members]
        is_change, self.members = members != self.members, members
        return is_change

    def _fault(self, replica: Replica) -> str:
        if doubt := self.book.doubt(replica):
            return doubt
        known = self.book.last(replica)
        if known is None:
            return "has no report"
        age_s = self._looked_at_s - known.silent_since_s
        return f"has a report {age_s:.0f} s old" if age_s > 0 else "has no KV memory"


def _owes_since_s(known: Known | None) -> float:
    """Since when it has owed another word; never for one that is away."""
    if known is None:
        return -math.inf
    return known.silent_since_s if known.report.accepting else math.inf
