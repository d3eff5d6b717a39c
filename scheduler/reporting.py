"""The engine's report about its streams, built a few times a second and sent on its way."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import Self

import numpy as np

from scheduler.live_streams import LiveStreams, Slots
from scheduler.settings import REPORT_ENDPOINT_ENV, SchedulerSettings
from telemetry.channel import ReportPublisher
from telemetry.report import SLACK_GRID_S, EngineReport


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What a report says of the engine itself.

    Attributes:
        step_s: Smoothed seconds between steps with work; 0 while there is none.
        total_blocks: KV blocks, vLLM's null block left out.
        free_blocks: Blocks nobody holds.
    """

    now_s: float
    step_s: float
    total_blocks: int
    free_blocks: int
    block_size_tokens: int
    plan_failures_total: int


class Reporter:
    """Builds and publishes `EngineReport`s; without an endpoint it does neither."""

    def __init__(self, endpoint: str | None, settings: SchedulerSettings) -> None:
        self._publisher = ReportPublisher(endpoint) if endpoint else None
        self._period_s = settings.report_period_s
        self._epoch = uuid.uuid4().hex[:12]
        self._seq = 0
        self._next_at_s = -np.inf

    @classmethod
    def from_environment(cls, settings: SchedulerSettings) -> Self:
        """With the endpoint that the replica gave this engine process, if it did."""
        return cls(os.environ.get(REPORT_ENDPOINT_ENV), settings)

    def is_due(self, now_s: float) -> bool:
        return self._publisher is not None and now_s >= self._next_at_s

    def publish(self, status: EngineStatus, streams: LiveStreams) -> None:
        """Send the present state; never blocks."""
        if self._publisher is None:
            return
        self._next_at_s = status.now_s + self._period_s
        self._seq += 1
        self._publisher.publish(self._report(status, streams))

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()

    def _report(self, status: EngineStatus, streams: LiveStreams) -> EngineReport:
        slots = streams.all_slots()
        is_waiting = np.isinf(streams.resident_since_s[slots])
        running, waiting = slots[~is_waiting], slots[is_waiting]
        qoe_mean, qoe_p5 = _qoe(streams, slots, status.now_s)
        return EngineReport(
            epoch=self._epoch,
            seq=self._seq,
            kv_blocks_total=status.total_blocks,
            kv_blocks_used=status.total_blocks - status.free_blocks,
            block_size_tokens=status.block_size_tokens,
            kv_blocks_preemptible=_preemptible(streams, running, status),
            demand_tokens=int(streams.context_tokens(slots).sum()),
            running=running.size,
            waiting=waiting.size,
            preempted=int((streams.readers.delivered_tokens[waiting] > 0).sum()),
            accepted_total=streams.accepted_total,
            finished_total=streams.finished_total,
            preemptions_total=streams.preemptions_total,
            plan_failures_total=status.plan_failures_total,
            tokens_total=streams.tokens_total,
            mean_output_tokens=streams.mean_output_tokens,
            step_time_s=status.step_s,
            qoe_mean=qoe_mean,
            qoe_p5=qoe_p5,
        )


def _qoe(streams: LiveStreams, slots: Slots, now_s: float) -> tuple[float, float]:
    """Mean and 5th percentile of the readers' QoE so far."""
    if not slots.size:
        return 1.0, 1.0
    qoe = streams.readers.qoe(slots, now_s)
    return float(qoe.mean()), float(np.percentile(qoe, 5))


def _preemptible(
    streams: LiveStreams, running: Slots, status: EngineStatus
) -> tuple[int, int, int, int]:
    slack_s = streams.readers.slack_s(running, status.now_s)
    blocks = np.ceil(streams.context_tokens(running) / status.block_size_tokens)
    one, two, four, eight = (int(blocks[slack_s >= s].sum()) for s in SLACK_GRID_S)
    return one, two, four, eight
