"""A routing decision, from what Serve hands a router to an order of replicas."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Literal

import numpy as np

from router.admission import Hold, Shed, refusal
from router.affinity import SessionHomes
from router.fleet import Fleet
from router.fleet_state import FleetState
from router.ledger import Ledger, Replica
from router.ranking import Ranker
from router.roster import Candidate
from router.settings import RouterSettings
from router.standing import UNLIMITED, AgeLimits, Standing
from router.stream import Reading, RequestReader, Stream
from router.turns import Ranks, Turns
from telemetry.report import EngineReport

__all__ = ["Chooser", "Hold", "Ranks", "Shed", "Stream"]

Mode = Literal["scored", "no report", "error"]
Candidates = Sequence[Candidate]

# Where Serve calls nobody back, a stream is thought to be over after this.
OUTSTANDING_TTL_S = 300.0


class Chooser:
    """Scores and reserves in one synchronous step, or takes turns when it cannot score.

    Four streams that arrive together all choose before the first is sent. Because a
    choice is in the ledger before the next one begins, they do not all choose alike.

    Attributes:
        ledger: What was sent and is not yet reported.
        counts: Decisions by how they were made: "scored", "no report" and "error" are
            placements, "held" and "shed" are not.
        oldest_report_s: Age of the oldest report at the last decision.
    """

    def __init__(
        self,
        settings: RouterSettings,
        *,
        now_s: Callable[[], float] = time.monotonic,
        log: logging.Logger | None = None,
    ) -> None:
        self._settings = settings
        self._now_s = now_s
        self._log = log or logging.getLogger(__name__)
        self._turns = Turns(random.Random(settings.seed))
        self._mode: Mode | None = None
        self._is_at_fault = False
        # Of the roster, when it was last said who is at fault.
        self._changes = 0
        self._ranker = Ranker(settings, np.random.default_rng(settings.seed))
        self._policy = self._ranker.policy
        self._reader = RequestReader(settings, uses_prefixes=self._policy.weighs_qoe)
        self._homes = SessionHomes()
        self._members: frozenset[Replica] = frozenset()
        self._hears_ends = False
        self.ledger = Ledger(ttl_s=settings.ledger_ttl_s, now_s=now_s)
        # No report releases what is in this one: only the end of the stream does.
        outstanding = Ledger(ttl_s=OUTSTANDING_TTL_S, now_s=now_s)
        counts_itself = not self._policy.needs_reports
        self._books = [self.ledger, outstanding] if counts_itself else [self.ledger]
        fresh_s, oldest_s = settings.fresh_report_age_s, settings.max_report_age_s
        self._limits = AgeLimits(min(fresh_s, oldest_s), oldest_s)
        self._fleet = Fleet(
            now_s=now_s,
            ledger=self.ledger,
            outstanding=outstanding if counts_itself else None,
            limits=UNLIMITED if counts_itself else self._limits,
        )
        self.counts: Counter[str] = Counter()
        self.oldest_report_s = 0.0

    @property
    def decisions(self) -> int:
        """Streams placed by score."""
        return self.counts["scored"]

    @property
    def fallbacks(self) -> int:
        """Streams placed without."""
        return self.counts["no report"] + self.counts["error"]

    def choose(self, candidates: Candidates, stream: Stream | None) -> Ranks:
        """Ranks of indices of `candidates`, best first, and a reservation on the first.

        Args:
            candidates: Replicas with their routing stats; at least one.
            stream: The request; None ranks the replicas and reserves nothing.
        """
        placed = self._decide(candidates, stream, may_hold=False, may_shed=False)
        assert isinstance(placed, list)
        return placed

    def choose_or_refuse(
        self, candidates: Candidates, stream: Stream | None, *, may_hold: bool
    ) -> Ranks | Hold | Shed:
        """As `choose`, but a stream that is sheddable may be told to wait or to go away.

        Args:
            candidates: Replicas with their routing stats; at least one.
            stream: The request.
            may_hold: Whether it can be asked to wait; False once it has waited.
        """
        return self._decide(candidates, stream, may_hold=may_hold, may_shed=True)

    def fall_back(
        self,
        num_candidates: int,
        reason: str,
        error: Exception | None = None,
        *,
        among: Sequence[int] = (),
    ) -> Ranks:
        """`Turns.ranks`, counted and logged.

        Args:
            num_candidates: How many replicas there are.
            reason: For the log.
            error: What went wrong, if that is the reason.
            among: Indices of those to be used; none for all.
        """
        mode: Mode = "no report" if error is None else "error"
        self.counts[mode] += 1
        if self._enters(mode):
            self._log.warning("Replicas take turns: %s.", reason, exc_info=error)
        return self._turns.ranks(among or range(num_candidates))

    def on_report(self, replica: Replica, report: EngineReport) -> None:
        """`replica` itself reports; sooner than through Serve, and in full."""
        self._fleet.on_report(replica, report)

    def settle(self) -> None:
        """Make ready for a choice after all reports; `choose` does it otherwise."""
        self._fleet.settle()

    def sent(self, request_id: str, replica: Replica, attempt: Hashable = None) -> None:
        """Serve sent this attempt to `replica`, whatever was chosen."""
        for book in self._books:
            book.move(request_id, replica, attempt)

    def cancelled(self, request_id: str, attempt: Hashable = None) -> None:
        """This attempt was given up before it was sent anywhere."""
        for book in self._books:
            book.cancel(request_id, attempt)

    def completed(self, replica: Replica, request_id: str) -> None:
        """An attempt of the request ended on `replica`: finished, failed or rejected."""
        self._hears_ends = True
        for book in self._books:
            book.completed(replica, request_id)

    def died(self, replica: Replica) -> None:
        """`replica` is gone, and with it all that it was sent."""
        for book in self._books:
            book.drop(replica)

    def retain(self, replicas: Collection[Replica]) -> None:
        """Forget every replica that is not one of `replicas`."""
        for book in self._books:
            book.retain(replicas)
        self._fleet.roster.book.retain(replicas)
        # Serve says this once a second, and these are long.
        if not self._members.issubset(replicas):
            self._homes.retain(replicas)
            self._reader.prefixes.retain(replicas)
        self._members = frozenset(replicas)

    def _decide(
        self,
        candidates: Candidates,
        stream: Stream | None,
        *,
        may_hold: bool,
        may_shed: bool,
    ) -> Ranks | Hold | Shed:
        fleet = self._counted(self._fleet.sync(candidates))
        read = self._reader.read(
            stream, self._fleet.replicas, self._fleet.mean_output_tokens
        )
        now_s = self._now_s()
        self.oldest_report_s = max(now_s - self._fleet.oldest_report_at_s, 0.0)
        roster = self._fleet.roster
        if roster.standing >= Standing.SILENT and self._needs_reports:
            ranks = self.fall_back(len(candidates), self._faults(), among=roster.listed_at)
        else:
            home = self._fleet.row(self._homes.home(stream.session_id)) if stream else None
            ranking = self._ranker.rank(fleet, read.ask, now_s=now_s, home=home)
            if may_shed and read.is_sheddable and self._policy.weighs_qoe:
                refused = refusal(ranking, read.ask, self._settings, may_hold=may_hold)
                if refused is not None:
                    self.counts["held" if isinstance(refused, Hold) else "shed"] += 1
                    return refused
            listed_at = roster.listed_at
            ranks = [[listed_at[row]] for row in ranking.order.tolist()]
            if stream is not None and roster.left_out:
                self._try_the_untried(ranks)
            self._scored()
        if stream is not None:
            self._reserve(stream, read, candidates[ranks[0][0]][0])
        return ranks

    @property
    def _needs_reports(self) -> bool:
        """Whether engines are asked how they are, or the router counts itself.

        It cannot where Serve never says that a stream has ended.
        """
        if self._policy.needs_reports:
            return True
        return self._fleet.has_finished and not self._hears_ends

    def _counted(self, fleet: FleetState) -> FleetState:
        """With the engines' own counts of streams where the router cannot count."""
        if self._policy.needs_reports:
            return fleet
        needs_reports = self._needs_reports
        self._fleet.roster.set_limits(self._limits if needs_reports else UNLIMITED)
        if not needs_reports:
            return fleet
        return fleet._replace(outstanding=fleet.reported.streams + fleet.unseen_streams)

    def _try_the_untried(self, ranks: Ranks) -> None:
        """Put a replica that never reported before the others, if there is one."""
        untried = self._fleet.roster.untried(self._is_busy)
        if untried is not None:
            ranks.insert(0, [untried])

    def _is_busy(self, replica: Replica) -> int:
        return self.ledger.sums(replica).streams

    def _reserve(self, stream: Stream, read: Reading, replica: Replica) -> None:
        ask, row = read.ask, self._fleet.row(replica)
        cached = ask.cached_tokens
        saved = 0.0
        if row is not None:
            saved = cached if isinstance(cached, float) else float(cached[row])
        for book in self._books:
            book.reserve(
                replica,
                stream.request_id,
                int(ask.demand_tokens),
                stream.attempt,
                prefill_tokens=round(ask.prompt_tokens - saved),
                request_key=stream.key,
            )
        self._homes.moved(stream.session_id, replica)
        self._reader.prefixes.sent(read.prefix, replica)

    def _faults(self) -> str:
        """Whose report is of no use, and why; empty when that has been said already."""
        if self._mode == "no report":
            return ""
        return self._fleet.roster.faults() or "no replica takes streams"

    def _scored(self) -> None:
        """Count a placement by score, and say once who is left out of it."""
        self.counts["scored"] += 1
        changes, is_new = self._fleet.roster.changes, self._mode != "scored"
        if changes == self._changes and not is_new:
            return
        was_at_fault, self._is_at_fault = self._is_at_fault, False
        if faults := self._fleet.roster.faults():
            self._is_at_fault = True
            self._log.warning("Streams go to the other replicas: %s.", faults)
        elif is_new or was_at_fault:
            self._log.info("All replicas report: streams go by score.")
        self._mode, self._changes = "scored", changes

    def _enters(self, mode: Mode) -> bool:
        """Whether `mode` is a change, to be logged once and not per request."""
        is_change, self._mode = mode != self._mode, mode
        return is_change
