"""The engine's report about its streams, built a few times a second and sent on its way."""

from __future__ import annotations

import uuid

import numpy as np

from scheduler.live_streams import LiveStreams, Slots
from scheduler.settings import SchedulerSettings
from telemetry.channel import ReportPublisher
from telemetry.report import SLACK_GRID_S, EngineReport


class Reporter:
    """Builds and publishes `EngineReport`s; without an endpoint it does neither."""

    def __init__(self, endpoint: str | None, settings: SchedulerSettings) -> None:
        self._publisher = ReportPublisher(endpoint) if endpoint else None
        self._period_s = settings.report_period_s
        self._epoch = uuid.uuid4().hex[:12]
        self._seq = 0
        self._next_at_s = -np.inf

    def is_due(self, now_s: float) -> bool:
        return self._publisher is not None and now_s >= self._next_at_s

    def publish(
        self,
        *,
        now_s: float,
        streams: LiveStreams,
        step_s: float,
        total_blocks: int,
        free_blocks: int,
        block_size_tokens: int,
        plan_failures_total: int,
    ) -> None:
        """Send the state at `now_s`; never blocks."""
        if self._publisher is None:
            return
        self._next_at_s = now_s + self._period_s
        self._seq += 1
        slots = streams.all_slots()
        qoe = streams.readers.qoe(slots, now_s)
        begun = streams.readers.delivered_tokens[slots] > 0
        is_waiting = np.isinf(streams.resident_since_s[slots])
        running = slots[~is_waiting]
        self._publisher.publish(
            EngineReport(
                epoch=self._epoch,
                seq=self._seq,
                kv_blocks_total=total_blocks,
                kv_blocks_used=total_blocks - free_blocks,
                block_size_tokens=block_size_tokens,
                kv_blocks_preemptible=_preemptible(
                    streams, running, now_s, block_size_tokens
                ),
                demand_tokens=int(streams.context_tokens(slots).sum()),
                running=running.size,
                waiting=slots.size - running.size,
                preempted=int((begun & is_waiting).sum()),
                accepted_total=streams.accepted_total,
                finished_total=streams.finished_total,
                preemptions_total=streams.preemptions_total,
                plan_failures_total=plan_failures_total,
                tokens_total=streams.tokens_total,
                mean_output_tokens=streams.mean_output_tokens,
                step_time_s=step_s,
                qoe_mean=float(qoe.mean()) if qoe.size else 1.0,
                qoe_p5=float(np.percentile(qoe, 5)) if qoe.size else 1.0,
            )
        )

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()


def _preemptible(
    streams: LiveStreams, running: Slots, now_s: float, block_size_tokens: int
) -> tuple[int, int, int, int]:
    slack_s = streams.readers.slack_s(running, now_s)
    blocks = np.ceil(streams.context_tokens(running) / block_size_tokens)
    one, two, four, eight = (int(blocks[slack_s >= s].sum()) for s in SLACK_GRID_S)
    return one, two, four, eight
