"""What a decision knows of all replicas, as numpy arrays."""

from __future__ import annotations

import math
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from qoe.forecast import Floats
from qoe.marginal_loss import MarginalLossTables
from router.demand import DEFAULT_OUTPUT_TOKENS
from router.report_book import Known

T = TypeVar("T")

# What an engine is taken for before any engine has told how fast it is.
DEFAULT_STEP_S = 0.02
DEFAULT_PREFILL_S = 1e-4
# The learned times of an engine that made fewer tokens than this are first guesses.
LEARNED_TOKENS = 200
# Streams that an engine must have finished to be no newcomer any more.
SLOW_START_STREAMS = 20
# Equal engines learn times that differ by this much, as logarithm.
SLOWNESS_NOISE = 0.1
# One noisy measurement should not make an engine look ten times as fast as its peers.
MAX_SLOWNESS = 4.0


class Columns(NamedTuple, Generic[T]):
    """One number for each replica, or one array of shape (n,) for all.

    Attributes:
        changed_at_s: When its report came: never for none, in infinity for an idle one's.
        started_at_s: When its engine started, if that was seen; else minus infinity.
        is_learned: 1 where the four times below are measured, 0 where they are guesses.
        base_s: Seconds of a step,
        per_stream_s: more for each stream in it,
        prefill_s: and for each prompt token.
        residence_s: How long a stream stays, on average.
        capacity_tokens: What its KV memory holds.
        demand_tokens: Context of all its live streams.
        free_tokens: KV memory that nobody holds.
        streams: Live streams.
        queued_tokens: Prompts and lost contexts that it has to compute.
        mean_output_tokens: Mean length of its finished streams; 0 before the first.
    """

    changed_at_s: T
    started_at_s: T
    is_learned: T
    base_s: T
    per_stream_s: T
    prefill_s: T
    residence_s: T
    capacity_tokens: T
    demand_tokens: T
    free_tokens: T
    streams: T
    queued_tokens: T
    mean_output_tokens: T


class FleetState(NamedTuple):
    """n replicas at the moment of a decision. Arrays are of shape (n,).

    Attributes:
        reported: What they report.
        soft_tokens: KV memory of streams whose reader could wait as long as each of
            `SLACK_GRID_S`; and none for longer, shape (n, 5).
        unseen_tokens: Demand of what they were sent and do not report yet.
        unseen_streams: How many streams that is.
        unseen_prefill_tokens: And their prompts.
        outstanding: Streams sent to them by this router and not completed, or what their
            engines say where it does not learn of that.
        slowness: How slow each engine is among its peers; 1 for all that are about equal.
        rows: 0 to n − 1.
        marginal_loss: What a placement would cost the streams they have.
        has_marginal_loss: Who published one, Serve's routing stats carrying none; None
            where all did, or nobody.
        oldest_report_at_s: When the oldest report came.
        newest_start_at_s: When the last engine started.
    """

    reported: Columns[Floats]
    soft_tokens: Floats
    unseen_tokens: Floats
    unseen_streams: Floats
    unseen_prefill_tokens: Floats
    outstanding: Floats
    slowness: Floats
    rows: npt.NDArray[np.intp]
    marginal_loss: MarginalLossTables
    has_marginal_loss: npt.NDArray[np.bool_] | None
    oldest_report_at_s: float
    newest_start_at_s: float

    def shared(self, share: Floats) -> FleetState:
        """The same with only this share of each replica's memory and speed to be had."""
        told = self.reported
        reported = told._replace(
            base_s=told.base_s / share,
            per_stream_s=told.per_stream_s / share,
            prefill_s=told.prefill_s / share,
            capacity_tokens=told.capacity_tokens * share,
            free_tokens=told.free_tokens * share,
        )
        return self._replace(
            reported=reported,
            outstanding=self.outstanding / share,
            slowness=relative_slowness(reported.prefill_s),
        )


UNKNOWN = Columns(
    -math.inf, -math.inf, 0.0, DEFAULT_STEP_S, 0.0, DEFAULT_PREFILL_S,
    1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0,
)  # fmt: skip


def columns_of(known: Known) -> Columns[float]:
    """What `known` says; `UNKNOWN` if that is an engine which can serve nobody."""
    report = known.report
    capacity = report.kv_blocks_total * report.block_size_tokens
    if capacity <= 0:
        # An engine without KV memory serves nobody: its report is as good as none.
        return UNKNOWN
    step_s = report.step_time_s or DEFAULT_STEP_S
    free = (report.kv_blocks_total - report.kv_blocks_used) * report.block_size_tokens
    is_new = report.finished_total < SLOW_START_STREAMS
    return Columns(
        changed_at_s=math.inf if report.is_idle else known.changed_at_s,
        started_at_s=known.started_at_s if is_new else -math.inf,
        is_learned=float(report.step_base_s > 0 and report.tokens_total >= LEARNED_TOKENS),
        base_s=report.step_base_s or step_s,
        per_stream_s=report.step_per_stream_s,
        prefill_s=report.prefill_s_per_token or DEFAULT_PREFILL_S,
        residence_s=(report.mean_output_tokens or DEFAULT_OUTPUT_TOKENS) * step_s,
        capacity_tokens=capacity,
        demand_tokens=report.demand_tokens,
        free_tokens=free,
        streams=report.running + report.waiting,
        queued_tokens=report.prefill_backlog_tokens + report.resume_debt_tokens,
        mean_output_tokens=report.mean_output_tokens,
    )


def relative_slowness(prefill_s: Floats) -> Floats:
    """How slow each engine is among its peers, 1 for all that are about equal.

    Of the times that an engine tells, that of a prompt token depends least on its load.
    """
    mean_s = prefill_s.sum() / max(prefill_s.size, 1)
    clipped = np.minimum(np.maximum(prefill_s / mean_s, 1.0 / MAX_SLOWNESS), MAX_SLOWNESS)
    differs = np.log(clipped)
    noise = np.minimum(np.maximum(differs, -SLOWNESS_NOISE), SLOWNESS_NOISE)
    slowness: Floats = np.exp(differs - noise)
    return slowness


def with_guesses(
    reported: Columns[Floats], is_learned: npt.NDArray[np.bool_]
) -> Columns[Floats]:
    """The slowest of the engines that know their times stand in for one that does not.

    Args:
        reported: n replicas.
        is_learned: Which of them know their times, shape (n,); one at least.
    """
    return reported._replace(
        base_s=_or_worst(reported.base_s, is_learned),
        per_stream_s=_or_worst(reported.per_stream_s, is_learned),
        prefill_s=_or_worst(reported.prefill_s, is_learned),
        residence_s=_or_worst(reported.residence_s, is_learned),
    )


def _or_worst(times_s: Floats, is_learned: npt.NDArray[np.bool_]) -> Floats:
    worst_s = times_s[is_learned].max()
    return np.where(is_learned, times_s, worst_s)
