"""From live streams to the policy's snapshot: forecasts, weights and prices, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler.live_streams import LiveStreams, Slots
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Bools, Floats, Ints, Snapshot
from scheduler.step_time import StepTimeModel

# Room kept for a stream to grow into, so that admitting it does not evict another at once.
# More leaves blocks idle, less evicts: 48 was best of 0 to 128 in virtual time.
MAX_GROWTH_TOKENS = 48.0


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the engine itself knows before a step."""

    now_s: float
    running: Slots
    waiting: Slots
    can_free: Bools
    total_blocks: int
    free_blocks: int
    block_size_tokens: int
    max_running: int


def take_snapshot(
    engine: EngineState,
    streams: LiveStreams,
    step_time: StepTimeModel,
    settings: SchedulerSettings,
) -> Snapshot:
    """Forecast every live stream, and weigh it in KV blocks.

    Waiting streams start after their own prefill; running ones go on with the next step.
    """
    slots = np.concatenate([engine.running, engine.waiting])
    num_running = engine.running.size
    is_running = np.arange(slots.size) < num_running
    now_s, readers = engine.now_s, streams.readers
    context_tokens = streams.context_tokens(slots)
    resume_s = context_tokens * step_time.prefill_s_per_token
    start_delay_s = step_time.step_s + np.where(is_running, 0.0, resume_s)
    tokens_per_s = 1.0 / step_time.step_s
    forecast = readers.forecast(slots, now_s, settings.horizon_s)
    served = forecast.served(start_delay_s, tokens_per_s)
    slack_s = readers.slack_s(slots, now_s)
    resident_s = now_s - streams.resident_since_s[engine.running]
    may_preempt = np.zeros(slots.size, dtype=np.bool_)
    may_preempt[:num_running] = (
        engine.can_free
        & (resident_s >= settings.min_residency_s)
        & (streams.preemptions[engine.running] < settings.max_preemptions)
    )
    growth_tokens = min(settings.min_residency_s * tokens_per_s, MAX_GROWTH_TOKENS)
    blocks = _blocks(context_tokens + growth_tokens, engine)
    a_second_later = forecast.served(start_delay_s + 1.0, tokens_per_s)
    return Snapshot(
        num_running=num_running,
        gain=served - forecast.waiting(),
        slack_s=slack_s,
        blocks=blocks,
        blocks_held=np.where(is_running, _blocks(context_tokens, engine), 0),
        resume_s=resume_s,
        may_preempt=may_preempt,
        free_blocks=engine.free_blocks,
        max_running=engine.max_running,
        harm_per_s=float((served - a_second_later).sum()),
        is_urgent=slack_s <= start_delay_s + settings.urgency_s,
        is_overdue=~is_running & (slack_s < -settings.max_late_s),
    )


def _blocks(tokens: Floats, engine: EngineState) -> Ints:
    blocks = np.ceil(tokens / engine.block_size_tokens).astype(np.int64)
    return np.minimum(blocks, engine.total_blocks)
