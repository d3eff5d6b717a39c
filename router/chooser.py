"""A routing decision, from what Serve hands a router to an order of replicas."""

from __future__ import annotations

import logging
import random
import statistics
import time
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from router.demand import estimate_demand_tokens
from router.ledger import Ledger, Replica
from router.policy import ReplicaLoad, rank, usable_report
from router.report_book import ReportBook
from router.settings import RouterSettings

Ranks = list[list[int]]
Mode = Literal["scored", "no report", "error"]


@dataclass(frozen=True, slots=True)
class Stream:
    """The request to place.

    Attributes:
        request_id: Serve's internal id: the same for all attempts of a request.
        attempt: What tells an attempt from its retry.
        body: The OpenAI request, in whatever form it came.
    """

    request_id: str
    attempt: Hashable
    body: object


class Chooser:
    """Scores and reserves in one synchronous step, or falls back when it cannot score.

    Four streams that arrive together all choose before the first is sent. Because a
    choice is in the ledger before the next one begins, they do not all choose alike.

    Attributes:
        ledger: What was sent and is not yet reported.
        decisions: Choices made by score.
        fallbacks: Choices made without.
    """

    def __init__(
        self,
        settings: RouterSettings,
        *,
        now_s: Callable[[], float] = time.monotonic,
        on_fallback: Callable[[], object] = lambda: None,
        log: logging.Logger | None = None,
    ) -> None:
        self._settings = settings
        self._rng = random.Random(settings.seed)
        # Several routers should not begin their rounds with the same replica.
        self._turn = self._rng.randrange(2**16)
        self._reports = ReportBook(now_s)
        self._on_fallback = on_fallback
        self._log = log or logging.getLogger(__name__)
        self._mode: Mode | None = None
        self.ledger = Ledger(ttl_s=settings.ledger_ttl_s, now_s=now_s)
        self.decisions = 0
        self.fallbacks = 0

    def choose(
        self, candidates: Sequence[tuple[Replica, object]], stream: Stream | None
    ) -> Ranks:
        """Ranks of indices of `candidates`, best first, and a reservation on the first.

        Args:
            candidates: Replicas with their routing stats; at least one.
            stream: The request; None ranks the replicas and reserves nothing.
        """
        loads = [self._load(replica, stats) for replica, stats in candidates]
        tokens = self._estimate(stream, loads)
        max_age_s = self._settings.max_report_age_s
        order = rank(loads, tokens, max_report_age_s=max_age_s, rng=self._rng)
        if order is None:
            ranks = self.fall_back(len(candidates), self._distrusted(candidates, loads))
        else:
            ranks = [[i] for i in order]
            self.decisions += 1
            if self._enters("scored"):
                self._log.info("All replicas report: streams go by score.")
        if stream is not None:
            first, _ = candidates[ranks[0][0]]
            self.ledger.reserve(first, stream.request_id, tokens, stream.attempt)
        return ranks

    def fall_back(
        self, num_candidates: int, reason: str, error: Exception | None = None
    ) -> Ranks:
        """Serve's own choice: [a pair, the rest], the pair led by the one whose turn it is.

        It has to be good on two paths. On the handle path Serve takes the shorter queue of
        a rank, by its own counts: the pair is its power of two choices, and the rest is
        there for when both are full. In direct streaming the first replica of the first
        rank is taken and nobody calls back, so Serve's counts stay at zero, and the
        ledger's would compare replicas that report, and so release, with replicas that do
        not. Taking turns needs no count, cannot herd, and never leaves a replica out: a
        new one gets the stream that makes it report.
        """
        self.fallbacks += 1
        self._on_fallback()
        if self._enters("no report" if error is None else "error"):
            self._log.warning("Replicas take turns: %s.", reason, exc_info=error)
        self._turn += 1
        first = self._turn % num_candidates
        others = [i for i in range(num_candidates) if i != first]
        self._rng.shuffle(others)
        ranks = [[first, *others[:1]], others[1:]]
        return [r for r in ranks if r]

    def retain(self, replicas: Collection[Replica]) -> None:
        """Forget every replica that is not one of `replicas`."""
        self.ledger.retain(replicas)
        self._reports.retain(replicas)

    def _load(self, replica: Replica, stats: object) -> ReplicaLoad:
        report, age_s = self._reports.read(replica, stats)
        if report is not None:
            self.ledger.observe(replica, report.epoch, report.accepted_total)
        return ReplicaLoad(report, age_s, self.ledger.unseen(replica))

    def _estimate(self, stream: Stream | None, loads: Sequence[ReplicaLoad]) -> int:
        means = [
            load.report.mean_output_tokens
            for load in loads
            if load.report is not None and load.report.mean_output_tokens > 0
        ]
        return estimate_demand_tokens(
            None if stream is None else stream.body,
            mean_output_tokens=statistics.fmean(means) if means else 0.0,
            chars_per_token=self._settings.chars_per_token,
        )

    def _distrusted(
        self, candidates: Sequence[tuple[Replica, object]], loads: Sequence[ReplicaLoad]
    ) -> str:
        """Whose report is of no use, and why; empty when that has been said already."""
        if self._mode == "no report":
            return ""
        max_age_s = self._settings.max_report_age_s
        return "; ".join(
            f"{replica} has {_fault(load)}"
            for (replica, _), load in zip(candidates, loads, strict=True)
            if usable_report(load, max_age_s) is None
        )

    def _enters(self, mode: Mode) -> bool:
        """Whether `mode` is a change, to be logged once and not per request."""
        is_change, self._mode = mode != self._mode, mode
        return is_change


def _fault(load: ReplicaLoad) -> str:
    return "no report" if load.report is None else f"a report {load.age_s:.0f} s old"
