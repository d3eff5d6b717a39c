"""Serve LLM's engine on a CPU, without a worker process of its own."""

from __future__ import annotations

from typing import Any

from vllm.v1.executor.uniproc_executor import UniProcExecutor

from deployments.resumable import ResumableEngine


class CpuEngine(ResumableEngine):
    """Runs the model in the engine's own process.

    Serve LLM asks for one worker process an engine. On a GPU that costs nothing; on a CPU
    the two spin on shared memory while they wait for each other, and two engines spin away
    the cores that the models need.
    """

    def _start_async_llm_engine(
        self, vllm_engine_args: Any, vllm_engine_config: Any, placement_group: Any
    ) -> Any:
        parallel = vllm_engine_config.parallel_config
        if parallel.world_size == 1:
            parallel.distributed_executor_backend = UniProcExecutor
        return super()._start_async_llm_engine(
            vllm_engine_args, vllm_engine_config, placement_group
        )
