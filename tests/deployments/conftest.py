"""What tests of the deployment share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deployments.tiny_model import ensure_tiny_model
from qoe import PROFILES


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llm(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A real engine on the CPU, with the client that replicas give theirs.

    An indirect parameter has more of vLLM's arguments.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - slow
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415
    from vllm.v1.executor.abstract import Executor  # noqa: PLC0415

    from deployments.moves.engine_client import moving  # noqa: PLC0415
    from deployments.patience import refusing  # noqa: PLC0415
    from deployments.resumable import resuming  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
        }.items():
            patch.setenv(name, value)
        config = AsyncEngineArgs(
            model=str(ensure_tiny_model()),
            dtype="float32",
            enforce_eager=True,
            block_size=128,
            max_model_len=2048,
            distributed_executor_backend="uni",
            scheduler_cls="scheduler.andes.AndesScheduler",
            **getattr(request, "param", {}),
        ).create_engine_config()
        llm = AsyncLLM(config, Executor.get_class(config), log_stats=False)
        # As Serve LLM's engine does it.
        client_class = refusing(resuming(type(llm)), PROFILES["reading"].expectation)
        llm.__class__ = moving(client_class)
        yield llm
        assert not llm.output_processor.request_states
        llm.shutdown()
