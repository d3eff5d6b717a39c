"""What tests of the deployment share."""

from __future__ import annotations

import argparse
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

    from deployments.admission import bounded  # noqa: PLC0415 - with vLLM
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
        client_class = resuming(bounded(type(llm)))
        llm.__class__ = refusing(client_class, PROFILES["reading"].expectation)
        yield llm
        assert not llm.output_processor.request_states
        llm.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replica_engine(llm: Any) -> Any:
    """Serve LLM's engine, as it is when it has started `llm`; its model is `tiny`."""
    from starlette.datastructures import State  # noqa: PLC0415 - with vLLM
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
    from vllm.entrypoints.launchers.cli_args import FrontendArgs  # noqa: PLC0415
    from vllm.entrypoints.openai.api_server import init_app_state  # noqa: PLC0415

    from deployments.resumable import ResumableEngine  # noqa: PLC0415

    given = AsyncEngineArgs(model=llm.model_config.model, served_model_name=["tiny"])
    engine: Any = ResumableEngine.__new__(ResumableEngine)
    engine._vllm_args = argparse.Namespace(**(vars(FrontendArgs()) | vars(given)))
    engine._engine_client, engine._token_receiver = llm, None
    engine._app_state = state = State()
    await init_app_state(llm, state, engine._vllm_args, ("generate",))
    engine._oai_serving_chat = state.openai_serving_chat
    engine._oai_serving_completion = state.openai_serving_completion
    return engine
