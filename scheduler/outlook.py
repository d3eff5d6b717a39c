"""From live streams to the policy's snapshot: forecasts, weights and prices, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scheduler.live_streams import LiveStreams, Slots
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Bools, Floats, Ints, Snapshot, StepTime

# Room kept for a stream to grow into, so that admitting it does not evict another at once.
MAX_GROWTH_TOKENS = 48.0

# How far QoE is forecast for a policy that does not say: as long as an answer is read.
HORIZON_S = 60.0

# As long as a stream that was just let in should go on undisturbed.
MIN_RESIDENCY_S = 1.0

# Until the first stream has ended.
ASSUMED_OUTPUT_TOKENS = 200.0


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the engine itself knows before a step.

    Attributes:
        held_blocks: KV blocks that waiting streams hold already, since their KV came back
            before there was room for them in a step; None for none.
    """

    now_s: float
    running: Slots
    waiting: Slots
    can_free: Bools
    uncomputed_tokens: Floats
    total_blocks: int
    free_blocks: int
    block_size_tokens: int
    max_running: int
    token_budget: int
    tokens_per_s: float
    computed_share: float
    held_blocks: Ints | None = None


def take_snapshot(
    engine: EngineState,
    streams: LiveStreams,
    step_time: StepTime,
    settings: SchedulerSettings,
    horizon_s: float = HORIZON_S,
) -> Snapshot:
    """Forecast every live stream for `horizon_s`, and weigh it in KV blocks."""
    slots = np.concatenate([engine.running, engine.waiting])
    num_running = engine.running.size
    now_s, readers = engine.now_s, streams.readers
    context_tokens = streams.context_tokens(slots)
    is_running = np.arange(slots.size) < num_running
    is_prefilling = is_running & streams.is_prefilling[slots]
    preemptions = streams.preemptions[slots]
    starts = _starts(engine, streams, slots, step_time, settings)
    step_s = step_time.step_s(max(num_running, 1))
    growth_tokens = min(MIN_RESIDENCY_S / step_s, MAX_GROWTH_TOKENS)
    blocks = _blocks(context_tokens + growth_tokens, engine)
    if engine.held_blocks is not None:
        blocks[num_running:] = np.maximum(blocks[num_running:] - engine.held_blocks, 0)
    can_free = is_running.copy()
    can_free[:num_running] = engine.can_free
    return Snapshot(
        num_running=num_running,
        forecast=readers.forecast(slots, now_s, horizon_s),
        start_delay_s=starts.delay_s,
        slack_s=readers.slack_s(slots, now_s),
        is_away=readers.is_away(slots),
        started=readers.delivered_tokens[slots] > 0,
        context_tokens=context_tokens,
        blocks=blocks,
        blocks_held=np.where(is_running, _blocks(context_tokens, engine), 0),
        resume_s=starts.resume_s,
        since_s=now_s - streams.since_s(slots, is_running),
        preemptions=preemptions,
        weight=streams.weight[slots],
        is_prefilling=is_prefilling,
        can_free=can_free,
        prefill_tokens=starts.prefill_tokens,
        free_blocks=engine.free_blocks,
        total_blocks=engine.total_blocks,
        max_running=engine.max_running,
        token_budget=engine.token_budget,
        step_time=step_time,
        accepted_total=streams.accepted_total,
        preemptions_total=streams.preemptions_total,
        tokens_per_s=engine.tokens_per_s,
        mean_output_tokens=streams.mean_output_tokens or ASSUMED_OUTPUT_TOKENS,
        shares=streams.tenants.shares(streams.tenant[slots].astype(np.int64)),
    )


class _Starts(NamedTuple):
    """Of each stream, shape (n,): as in `Snapshot`."""

    prefill_tokens: Floats
    delay_s: Floats
    resume_s: Floats


def _starts(
    engine: EngineState,
    streams: LiveStreams,
    slots: Slots,
    step_time: StepTime,
    settings: SchedulerSettings,
) -> _Starts:
    """Waiting streams start after their own prefill or transfer, others with the step."""
    num_running = engine.running.size
    context_tokens = streams.context_tokens(slots)
    was_preempted = streams.preemptions[slots] > 0
    prefill_tokens = np.where(
        was_preempted,
        context_tokens * engine.computed_share,
        context_tokens - streams.cached_tokens[slots],
    )
    is_prefilling = streams.is_prefilling[engine.running]
    prefill_tokens[:num_running] = engine.uncomputed_tokens * is_prefilling
    step_s = step_time.step_s(max(num_running, 1))
    delay_s = step_s + prefill_tokens * step_time.prefill_s_per_token
    resume_s = context_tokens * engine.computed_share * step_time.prefill_s_per_token
    if settings.resume == "offload":
        resume_s = context_tokens * settings.transfer_s_per_token
        comes_back = was_preempted & (np.arange(slots.size) >= num_running)
        delay_s = np.where(comes_back, step_s + resume_s, delay_s)
        prefill_tokens = np.where(comes_back, 0.0, prefill_tokens)
    return _Starts(prefill_tokens, delay_s, resume_s)


def _blocks(tokens: Floats, engine: EngineState) -> Ints:
    blocks = np.ceil(tokens / engine.block_size_tokens).astype(np.int64)
    return np.minimum(blocks, engine.total_blocks)
