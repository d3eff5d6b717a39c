"""The engine's report about its streams, built a few times a second and sent on its way."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from qoe.marginal_loss import EngineLoad, marginal_loss_table
from scheduler.activity import Activity
from scheduler.live_streams import Bools, Floats, LiveStreams, Slots
from scheduler.metering import Meter
from scheduler.outlook import ASSUMED_OUTPUT_TOKENS
from scheduler.settings import REPORT_ENDPOINT_ENV, SchedulerSettings
from scheduler.snapshot import StepTime
from telemetry.channel import ReportPublisher
from telemetry.report import SLACK_EDGES_S, SLACK_GRID_S, TARGET_QOE, EngineReport

# The table of marginal losses is most of a report's price: those in between carry the
# last one. A period measured a little short is a period.
MARGINAL_LOSS_PERIOD_S = 0.1
_MARGINAL_LOSS_DUE_S = 0.95 * MARGINAL_LOSS_PERIOD_S


class Publisher(Protocol):
    """Where reports go: a socket, or in a replay whoever listens."""

    def publish(self, report: EngineReport) -> None:
        """Take a report; never blocks, never raises."""

    def close(self) -> None:
        """Nothing more will come."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What a report says of the engine itself.

    Attributes:
        step_s: Smoothed seconds between steps with work; 0 while there is none.
        total_blocks: KV blocks, vLLM's null block left out.
        free_blocks: Blocks nobody holds.
        max_running: Most streams the engine runs at once.
        step_time: What a step costs.
        tokens_per_s: What the recent steps brought; 0 before the first.
        uncomputed_tokens: Tokens that running streams have to compute before their next
            one, by request; 1 where a stream only decodes.
        activity: What the scheduler has done so far.
    """

    now_s: float
    step_s: float
    total_blocks: int
    free_blocks: int
    block_size_tokens: int
    plan_failures_total: int
    max_running: int
    step_time: StepTime
    tokens_per_s: float
    uncomputed_tokens: Mapping[str, int]
    activity: Activity | None = None


class Reporter:
    """Builds `EngineReport`s, and publishes them where there is a publisher."""

    def __init__(
        self,
        publisher: Publisher | None,
        settings: SchedulerSettings,
        meter: Meter | None = None,
    ) -> None:
        self._publisher = publisher
        self._meter = meter
        self._period_s = settings.report_period_s
        self._is_recomputed = settings.resume == "recompute"
        self._epoch = uuid.uuid4().hex[:12]
        self._seq = 0
        self._next_at_s = -np.inf
        self._marginal_loss: tuple[float, ...] = ()
        self._marginal_loss_at_s = -np.inf

    @classmethod
    def from_environment(cls, settings: SchedulerSettings) -> Self:
        """With the endpoint that the replica gave this engine process, if it did."""
        endpoint = os.environ.get(REPORT_ENDPOINT_ENV)
        publisher = ReportPublisher(endpoint) if endpoint else None
        return cls(publisher, settings, Meter.from_environment(settings.policy))

    def is_due(self, now_s: float) -> bool:
        return self._publisher is not None and now_s >= self._next_at_s

    def publish(self, status: EngineStatus, streams: LiveStreams) -> None:
        """Send the present state; never blocks."""
        if self._publisher is None:
            return
        self._next_at_s = status.now_s + self._period_s
        report = self.build(status, streams)
        self._publisher.publish(report)
        if self._meter is not None and status.activity is not None:
            self._meter.reported(report, status.activity, streams, status.now_s)

    def close(self) -> None:
        for publisher in (self._publisher, self._meter):
            if publisher is not None:
                publisher.close()

    def build(self, status: EngineStatus, streams: LiveStreams) -> EngineReport:
        """The present state as the next report of this epoch."""
        self._seq += 1
        slots = streams.all_slots()
        begun = streams.readers.delivered_tokens[slots] > 0
        is_waiting = np.isinf(streams.resident_since_s[slots])
        context = streams.context_tokens(slots)
        uncomputed = self._uncomputed_tokens(status, streams, slots)
        slack_s = streams.readers.slack_s(slots, status.now_s)
        qoe = streams.readers.qoe(slots, status.now_s)
        return EngineReport(
            epoch=self._epoch,
            seq=self._seq,
            kv_blocks_total=status.total_blocks,
            kv_blocks_used=status.total_blocks - status.free_blocks,
            block_size_tokens=status.block_size_tokens,
            kv_blocks_preemptible=_preemptible(context, slack_s, ~is_waiting, status),
            demand_tokens=int(context.sum()),
            running=int((~is_waiting).sum()),
            waiting=int(is_waiting.sum()),
            preempted=int((begun & is_waiting).sum()),
            accepted_total=streams.accepted_total,
            finished_total=streams.finished_total,
            preemptions_total=streams.preemptions_total,
            plan_failures_total=status.plan_failures_total,
            tokens_total=streams.tokens_total,
            mean_output_tokens=streams.mean_output_tokens,
            step_time_s=status.step_s,
            qoe_mean=float(qoe.mean()) if qoe.size else 1.0,
            qoe_p5=percentile(qoe, 5) if qoe.size else 1.0,
            step_base_s=status.step_time.base_s,
            step_per_stream_s=status.step_time.per_stream_s,
            prefill_s_per_token=status.step_time.prefill_s_per_token,
            prefill_backlog_tokens=int(uncomputed[~begun].sum()),
            resume_debt_tokens=int(uncomputed[begun].sum()),
            slack_histogram=_histogram(slack_s),
            streams_below_target=int((qoe < TARGET_QOE).sum()),
            promised_tokens_per_s=streams.promised_tokens_per_s,
            tokens_per_s=status.tokens_per_s,
            marginal_loss=self._marginal_loss_of(status, streams, slots, uncomputed),
            accepted_keys=tuple(streams.accepted_keys),
        )

    def _uncomputed_tokens(
        self, status: EngineStatus, streams: LiveStreams, slots: Slots
    ) -> Floats:
        """Tokens to compute before each stream's next one; a transfer computes none."""
        left = np.zeros(streams.readers.capacity)
        # An engine still counts a stream as running while it forgets it.
        due = {r: n for r, n in status.uncomputed_tokens.items() if n > 1 and r in streams}
        left[streams.slots(due)] = [*due.values()]
        is_waiting = np.isinf(streams.resident_since_s[slots])
        uncomputed = np.where(is_waiting, streams.context_tokens(slots), left[slots])
        if not self._is_recomputed:
            uncomputed[streams.readers.delivered_tokens[slots] > 0] = 0.0
        return uncomputed

    def _marginal_loss_of(
        self,
        status: EngineStatus,
        streams: LiveStreams,
        slots: Slots,
        uncomputed: Floats,
    ) -> tuple[float, ...]:
        if not slots.size:
            self._marginal_loss = ()
        elif (
            not self._marginal_loss
            or status.now_s - self._marginal_loss_at_s >= _MARGINAL_LOSS_DUE_S
        ):
            self._marginal_loss_at_s = status.now_s
            self._marginal_loss = _marginal_loss(status, streams, slots, uncomputed)
        return self._marginal_loss


def _marginal_loss(
    status: EngineStatus, streams: LiveStreams, slots: Slots, uncomputed: Floats
) -> tuple[float, ...]:
    delivered = streams.readers.delivered_tokens[slots]
    mean_tokens = streams.mean_output_tokens or ASSUMED_OUTPUT_TOKENS
    # The new are computed as they came; the begun come back when their reader needs it.
    ahead = np.cumsum(np.where(delivered > 0, 0.0, uncomputed))
    to_compute = np.where((delivered > 0) | (uncomputed <= 0), uncomputed, ahead)
    table = marginal_loss_table(
        streams.readers,
        slots,
        status.now_s,
        EngineLoad(
            kv_tokens=float(status.total_blocks * status.block_size_tokens),
            demand_tokens=float(streams.context_tokens(slots).sum()),
            step_base_s=status.step_time.base_s,
            step_per_stream_s=status.step_time.per_stream_s,
            max_running=float(status.max_running),
        ),
        remaining_tokens=np.maximum(mean_tokens - delivered, mean_tokens / 2.0),
        start_delay_s=to_compute * status.step_time.prefill_s_per_token,
        weight=streams.weight[slots],
    )
    return tuple(table.ravel().tolist())


def _preemptible(
    context: Floats, slack_s: Floats, is_running: Bools, status: EngineStatus
) -> tuple[int, int, int, int]:
    slack_s = slack_s[is_running]
    blocks = np.ceil(context[is_running] / status.block_size_tokens)
    one, two, four, eight = (int(blocks[slack_s >= s].sum()) for s in SLACK_GRID_S)
    return one, two, four, eight


def percentile(values: Floats, percent: float) -> float:
    """As numpy has it, in a tenth of the time for the few streams of an engine; n >= 1."""
    at = (values.size - 1) * (percent / 100)
    below = int(at)
    low, high = np.sort(values)[[below, min(below + 1, values.size - 1)]].tolist()
    share, step = at - below, high - low
    return float(low + step * share if share < 0.5 else high - step * (1.0 - share))


def _histogram(slack_s: Floats) -> tuple[int, ...]:
    """Streams in each bin between `SLACK_EDGES_S`."""
    bins = np.searchsorted(SLACK_EDGES_S, slack_s, side="right")
    return tuple(np.bincount(bins, minlength=len(SLACK_EDGES_S) + 1).tolist())
