"""Keeps what a decision knows of the replicas up to date, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qoe.marginal_loss import MarginalLossTables
from router.fleet_state import (
    UNKNOWN,
    Columns,
    FleetState,
    columns_of,
    relative_slowness,
    with_guesses,
)
from router.ledger import Ledger, Replica
from router.report_book import Known
from router.roster import Candidate, Roster
from router.standing import UNLIMITED, AgeLimits
from telemetry.report import SLACK_GRID_S, EngineReport

Rows = npt.NDArray[np.bool_]


class _Traits(NamedTuple):
    """What seldom changes of a replica, and is compared with the others' when it does."""

    is_learned: float
    started_at_s: float
    has_marginal_loss: bool


_UNKNOWN_TRAITS = _Traits(UNKNOWN.is_learned, UNKNOWN.started_at_s, has_marginal_loss=False)


class Fleet:
    """Keeps the arrays up to date, and writes only the rows that changed.

    Members of the roster have a row. What another replica says, or does not say, bears on
    nothing here.

    Invariants:
        A decision reads arrays: nothing in it takes a Python loop over replicas unless
            somebody reported or was sent something since the last one, or is overdue.

    Args:
        now_s: Monotonic clock.
        ledger: What was sent and is not reported.
        outstanding: What was sent and has not ended, if anybody goes by that.
        limits: How old a report may be.

    Attributes:
        roster: Who is listed, and who of them has a row.
        has_finished: Whether an engine has ever reported a stream that ended.
    """

    def __init__(
        self,
        *,
        now_s: Callable[[], float],
        ledger: Ledger,
        outstanding: Ledger | None,
        limits: AgeLimits = UNLIMITED,
    ) -> None:
        self.roster = Roster(now_s, limits)
        self.has_finished = False
        self._now_s = now_s
        self._ledger = ledger
        self._outstanding = outstanding
        self._has_news = False
        self._replicas: list[Replica] = []
        self._rows: dict[Replica, int] = {}
        self._allocate(0)

    @property
    def replicas(self) -> Sequence[Replica]:
        """Those with a row, in the order of their rows."""
        return self._replicas

    @property
    def mean_output_tokens(self) -> float:
        """Mean length of the finished streams of those with a row; 0 before the first."""
        return self._mean_output_tokens

    @property
    def oldest_report_at_s(self) -> float:
        """When the oldest report came of all that are listed and not away."""
        oldest_s = self._state.oldest_report_at_s
        if not self.roster.left_out:
            return oldest_s
        return min(oldest_s, self.roster.oldest_report_at_s)

    def row(self, replica: Replica | None) -> int | None:
        """Where `replica` is in the present arrays; None if it is not."""
        return self._rows.get(replica)

    def on_report(self, replica: Replica, report: EngineReport) -> None:
        """`replica` reports, on its own or through Serve."""
        if self.roster.on_report(replica, report):
            self._learn(replica)
        # Also where its engine has said nothing since.
        self._ledger.forget(replica, report.ended_keys)

    def sync(self, candidates: Sequence[Candidate]) -> FleetState:
        """The state of these replicas, with their routing stats read where they changed."""
        for replica in self.roster.take(candidates):
            self._learn(replica)
        return self.settle()

    def settle(self) -> FleetState:
        """The state of the replicas of the last `sync`, after all reports since."""
        if self.roster.look(self._now_s()):
            self._reorder(self.roster.members)
        self._write_sent(self._ledger.take_changed())
        if self._outstanding is not None:
            self._write_outstanding(self._outstanding.take_changed())
        if self._has_news:
            self._assemble()
        return self._state

    def _learn(self, replica: Replica) -> None:
        known = self.roster.book.last(replica)
        if known is not None:
            report = known.report
            self.has_finished = self.has_finished or report.finished_total > 0
            self._ledger.observe(
                replica, report.epoch, report.accepted_total, report.accepted_keys
            )
        self._write_report(replica, known)

    def _reorder(self, replicas: list[Replica]) -> None:
        self._replicas = replicas
        self._rows = {replica: row for row, replica in enumerate(replicas)}
        self._allocate(len(replicas))
        for replica in replicas:
            self._write_report(replica, self.roster.book.last(replica))
        self._write_sent(replicas)
        if self._outstanding is not None:
            self._write_outstanding(replicas)

    def _allocate(self, num_replicas: int) -> None:
        self._table = np.repeat(np.array(UNKNOWN)[:, None], num_replicas, axis=1)
        self._reported = Columns(*self._table)
        self._traits = [_UNKNOWN_TRAITS] * num_replicas
        self._soft_tokens = np.zeros((num_replicas, len(SLACK_GRID_S) + 1))
        self._unseen = np.zeros((3, num_replicas))
        self._sent = np.zeros(num_replicas)
        self._row_numbers = np.arange(num_replicas)
        self._marginal_loss = MarginalLossTables([()] * num_replicas)
        self._mean_output_tokens = 0.0
        self._compare()
        self._assemble()

    def _write_sent(self, replicas: Iterable[Replica]) -> None:
        for replica in replicas:
            row = self._rows.get(replica)
            if row is not None:
                self._unseen[:, row] = self._ledger.sums(replica)

    def _write_outstanding(self, replicas: Iterable[Replica]) -> None:
        assert self._outstanding is not None
        for replica in replicas:
            row = self._rows.get(replica)
            if row is not None:
                self._sent[row] = self._outstanding.sums(replica).streams

    def _write_report(self, replica: Replica, known: Known | None) -> None:
        """At once, and not when a stream is waiting to be placed."""
        row = self._rows.get(replica)
        if row is None:
            return
        self._has_news = True
        columns, has_marginal_loss = UNKNOWN, False
        if known is not None:
            report = known.report
            columns, has_marginal_loss = (
                columns_of(known),
                bool(report.marginal_loss) or report.is_idle,
            )
            block = report.block_size_tokens
            soft_tokens = [blocks * block for blocks in report.kv_blocks_preemptible]
            self._soft_tokens[row, :-1] = soft_tokens
            self._marginal_loss.replace(row, report.marginal_loss)
        self._table[:, row] = columns
        traits = _Traits(columns.is_learned, columns.started_at_s, has_marginal_loss)
        if traits != self._traits[row]:
            self._traits[row] = traits
            self._has_turned = True

    def _compare(self) -> None:
        """Who differs from whom in what seldom changes."""
        self._has_turned = False
        is_learned, started_at_s, has_marginal_loss = (
            np.array(self._traits, dtype=np.float64).reshape(-1, len(_Traits._fields)).T
        )
        self._learned = _unless_even(is_learned > 0.0)
        self._has_marginal_loss = _unless_even(has_marginal_loss > 0.0)
        self._newest_start_at_s = float(started_at_s.max(initial=-np.inf))

    def _assemble(self) -> None:
        self._has_news = False
        if self._has_turned:
            self._compare()
        reported = self._reported
        means = reported.mean_output_tokens
        if finishing := np.count_nonzero(means):
            self._mean_output_tokens = float(means.sum() / finishing)
        if self._learned is not None:
            reported = with_guesses(reported, self._learned)
        self._state = FleetState(
            reported=reported,
            soft_tokens=self._soft_tokens,
            unseen_tokens=self._unseen[0],
            unseen_streams=self._unseen[1],
            unseen_prefill_tokens=self._unseen[2],
            outstanding=self._sent,
            slowness=relative_slowness(reported.prefill_s),
            rows=self._row_numbers,
            marginal_loss=self._marginal_loss,
            has_marginal_loss=self._has_marginal_loss,
            oldest_report_at_s=float(reported.changed_at_s.min(initial=np.inf)),
            newest_start_at_s=self._newest_start_at_s,
        )


def _unless_even(rows: Rows) -> Rows | None:
    """The same; None if it makes no difference between rows."""
    return rows if 0 < np.count_nonzero(rows) < rows.size else None
