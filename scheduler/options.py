"""What vLLM's other options mean for a scheduler of ours. No vLLM is imported here."""

from __future__ import annotations

from typing import Any

from scheduler.settings import SchedulerSettings


def refusal_of(vllm_config: Any, settings: SchedulerSettings) -> str | None:
    """Why an engine with these options cannot start, in one sentence; None if it can."""
    ordered_by = vllm_config.scheduler_config.policy
    if ordered_by != "fcfs" and settings.policy != "fcfs":
        return (
            f"scheduling_policy={ordered_by!r} is invalid with policy={settings.policy!r}, "
            "which orders the streams itself: it must be 'fcfs', or set policy='fcfs', "
            "which leaves the order to vLLM."
        )
    if settings.resume == "offload" and vllm_config.kv_transfer_config is None:
        return (
            "resume='offload' is invalid without a KV connector, which would bring the KV "
            "back: set kv_transfer_config or kv_offloading_size, or resume='recompute'."
        )
    return None


def takes_short_steps(scheduler: Any) -> bool:
    """Whether a step of vLLM's `scheduler` may have fewer tokens than its options say.

    Not where a prompt, an image or a block of recurrent state has to fit into one step:
    in a shorter one it would wait for as long as others decode.
    """
    config = scheduler.scheduler_config
    is_whole = config.disable_chunked_mm_input or scheduler.need_mamba_block_aligned_split
    return bool(config.enable_chunked_prefill and not is_whole)
