"""What vLLM is told of an engine that only exists in virtual time."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from vllm.config import KVTransferConfig, VllmConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.structured_output import StructuredOutputManager

from bench.replay.offload import VirtualOffload
from deployments.environment import variable
from deployments.tiny_model import ensure_tiny_model
from scheduler.settings import SETTINGS_ENV, SchedulerSettings

MAX_MODEL_LEN = 32768


@dataclass(frozen=True, slots=True)
class EngineSize:
    """What one engine holds, in the words of vLLM's options.

    Attributes:
        kv_tokens: KV memory; rounded down to whole blocks.
        transfer_s_per_token: Link time to load one token's KV from the host; None where
            preempted streams are computed again.
    """

    kv_tokens: int
    block_size_tokens: int = 16
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    transfer_s_per_token: float | None = None

    @property
    def num_blocks(self) -> int:
        """KV blocks, vLLM's null block included."""
        return self.kv_tokens // self.block_size_tokens + 1

    def of_size(self, times: int) -> EngineSize:
        """That of an engine so many times as large."""
        return replace(
            self,
            kv_tokens=self.kv_tokens * times,
            max_num_seqs=self.max_num_seqs * times,
            max_num_batched_tokens=self.max_num_batched_tokens * times,
        )


def make_scheduler(
    settings: SchedulerSettings, size: EngineSize, scheduler_cls: type[AsyncScheduler]
) -> AsyncScheduler:
    """A real scheduler with its KV manager, for an engine of this size.

    Raises:
        ValueError: The settings offload KV, and the size has no link to do it over.
    """
    if settings.resume == "offload" and size.transfer_s_per_token is None:
        raise ValueError(
            "SchedulerSettings.resume='offload' needs EngineSize.transfer_s_per_token, "
            "which is None."
        )
    config = _engine_config(size)
    with variable(SETTINGS_ENV, settings.model_dump_json()):
        return scheduler_cls(
            vllm_config=config,
            kv_cache_config=_kv_cache_config(size),
            structured_output_manager=StructuredOutputManager(config),
            block_size=size.block_size_tokens,
            log_stats=False,
        )


@cache
def block_hasher(block_size_tokens: int) -> Any:
    """What hashes the blocks of a prompt for the prefix cache; a request asks for it."""
    init_none_hash(sha256)
    return get_request_block_hasher(block_size_tokens, sha256)


@cache
def _base_config() -> VllmConfig:
    return EngineArgs(
        model=str(ensure_tiny_model()),
        dtype="float32",
        enforce_eager=True,
        max_model_len=MAX_MODEL_LEN,
        hf_overrides={"max_position_embeddings": MAX_MODEL_LEN},
        distributed_executor_backend="uni",
    ).create_engine_config()


def _engine_config(size: EngineSize) -> VllmConfig:
    config = copy.copy(_base_config())
    config.cache_config = copy.copy(config.cache_config)
    config.cache_config.num_gpu_blocks = size.num_blocks
    config.cache_config.block_size = size.block_size_tokens
    config.scheduler_config = copy.copy(config.scheduler_config)
    config.scheduler_config.max_num_seqs = size.max_num_seqs
    config.scheduler_config.max_num_batched_tokens = size.max_num_batched_tokens
    if size.transfer_s_per_token is not None:
        config.kv_transfer_config = KVTransferConfig(
            kv_connector=VirtualOffload.__name__,
            kv_connector_module_path=VirtualOffload.__module__,
            kv_role="kv_both",
        )
    return config


def _kv_cache_config(size: EngineSize) -> KVCacheConfig:
    spec = FullAttentionSpec(
        block_size=size.block_size_tokens, num_kv_heads=1, head_size=1, dtype=torch.float32
    )
    return KVCacheConfig(
        num_blocks=size.num_blocks,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
    )
