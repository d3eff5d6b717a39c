"""A real vLLM scheduler in virtual time: its own code, no model, no GPU, no clock.

What a step costs comes from a linear model; everything else, from admission to eviction, is
vLLM's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import FinishReason
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from deployments.environment import variable
from deployments.tiny_model import ensure_tiny_model
from qoe import Expectation
from scheduler.andes import AndesScheduler
from scheduler.settings import SETTINGS_ENV, SchedulerSettings


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of one engine step: fixed, per decoding stream, per prefill token."""

    base_s: float = 3e-3
    per_stream_s: float = 1e-4
    per_prefill_token_s: float = 2e-5

    def step_s(self, num_decoding: int, prefill_tokens: int) -> float:
        return (
            self.base_s
            + self.per_stream_s * num_decoding
            + self.per_prefill_token_s * prefill_tokens
        )


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a load."""

    at_s: float
    input_tokens: int
    output_tokens: int
    expectation: Expectation


class VirtualEngine:
    """One engine: real scheduler and KV manager, made-up tokens, a clock that steps set.

    Attributes:
        now_s: Virtual time, seconds since the engine was made.
        delivered_at_s: Delivery times of every stream's tokens, absolute, by request id.
        scheduler: The scheduler under test.
        scheduler_s: Real seconds the scheduler took in the last step.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        *,
        num_blocks: int,
        block_size_tokens: int = 16,
        max_num_seqs: int = 256,
        max_num_batched_tokens: int = 2048,
        cost: StepCost | None = None,
        scheduler_cls: type[AsyncScheduler] = AndesScheduler,
    ) -> None:
        self.now_s = 0.0
        self.cost = cost or StepCost()
        self.delivered_at_s: dict[str, list[float]] = {}
        self.scheduler_s = 0.0
        config = _engine_config(max_num_seqs, max_num_batched_tokens)
        config.cache_config.num_gpu_blocks = num_blocks
        config.cache_config.block_size = block_size_tokens
        self._hasher = _block_hasher(block_size_tokens)
        with variable(SETTINGS_ENV, settings.model_dump_json()):
            self.scheduler: Any = scheduler_cls(
                vllm_config=config,
                kv_cache_config=_kv_cache_config(num_blocks, block_size_tokens),
                structured_output_manager=StructuredOutputManager(config),
                block_size=block_size_tokens,
                log_stats=False,
            )
        self._set_clock()

    def submit(self, request_id: str, arrival: Arrival) -> None:
        self.delivered_at_s[request_id] = []
        # Distinct prompts: streams share a prefix only with their own past.
        first = len(self.delivered_at_s)
        prompt = [first, *([first % 97 + 1] * (arrival.input_tokens - 1))]
        params = SamplingParams(
            max_tokens=arrival.output_tokens,
            ignore_eos=True,
            extra_args={
                "qoe_ttft_s": arrival.expectation.ttft_s,
                "qoe_tds": arrival.expectation.tds,
            },
        )
        self.scheduler.add_request(
            Request(
                request_id,
                prompt,
                params,
                None,
                arrival_time=arrival.at_s,
                block_hasher=self._hasher,
            )
        )

    def step(self) -> SchedulerOutput:
        """One scheduler step, its virtual time, and its tokens.

        `scheduler_s` is then the real time the scheduler took for both of its halves.
        """
        started_s = time.perf_counter()
        output: SchedulerOutput = self.scheduler.schedule()
        self.scheduler_s = time.perf_counter() - started_s
        request_ids = list(output.num_scheduled_tokens)
        requests = self.scheduler.requests
        sampled = [[] if requests[r].is_prefill_chunk else [7] for r in request_ids]
        num_sampled = sum(map(len, sampled))
        prefill_tokens = output.total_num_scheduled_tokens - num_sampled
        self.now_s += self.cost.step_s(num_sampled, prefill_tokens)
        result = ModelRunnerOutput(
            req_ids=request_ids,
            req_id_to_index={r: i for i, r in enumerate(request_ids)},
            sampled_token_ids=sampled,
        )
        started_s = time.perf_counter()
        outputs = self.scheduler.update_from_output(output, result)
        self.scheduler_s += time.perf_counter() - started_s
        self._record(outputs)
        return output

    def run(self, arrivals: Iterable[Arrival], max_steps: int = 10_000_000) -> None:
        """Submit a load at its times and step until every stream is done."""
        todo = sorted(enumerate(arrivals), key=lambda item: item[1].at_s, reverse=True)
        for _ in range(max_steps):
            if not self.scheduler.has_unfinished_requests() and todo:
                self.now_s = max(self.now_s, todo[-1][1].at_s)
            while todo and todo[-1][1].at_s <= self.now_s:
                number, arrival = todo.pop()
                self.submit(str(number), arrival)
            if not todo and not self.scheduler.has_unfinished_requests():
                return
            self.step()
        raise RuntimeError(f"the load was not done after {max_steps} steps")

    def _record(self, outputs: dict[int, Any]) -> None:
        for client_outputs in outputs.values():
            for output in client_outputs.outputs:
                times = self.delivered_at_s[output.request_id]
                times.extend([self.now_s] * len(output.new_token_ids))
                if output.finish_reason == FinishReason.ERROR:
                    raise RuntimeError(f"request {output.request_id} failed in the engine")

    def _set_clock(self) -> None:
        self.scheduler.now_s = lambda: self.now_s
        self.scheduler.wall_s = lambda: self.now_s


@cache
def _base_config() -> VllmConfig:
    return EngineArgs(
        model=str(ensure_tiny_model()),
        dtype="float32",
        enforce_eager=True,
        max_model_len=8192,
        distributed_executor_backend="uni",
    ).create_engine_config()


def _engine_config(max_num_seqs: int, max_num_batched_tokens: int) -> VllmConfig:
    config = _base_config()
    config.scheduler_config.max_num_seqs = max_num_seqs
    config.scheduler_config.max_num_batched_tokens = max_num_batched_tokens
    return config


def _kv_cache_config(num_blocks: int, block_size_tokens: int) -> KVCacheConfig:
    spec = FullAttentionSpec(
        block_size=block_size_tokens, num_kv_heads=1, head_size=1, dtype=torch.float32
    )
    return KVCacheConfig(
        num_blocks=num_blocks,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
    )


@cache
def _block_hasher(block_size_tokens: int) -> Any:
    init_none_hash(sha256)
    return get_request_block_hasher(block_size_tokens, sha256)
