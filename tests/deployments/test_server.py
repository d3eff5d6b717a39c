"""A replica listens to its engine, tells routers what it heard, and cleans up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    ErrorResponse,
)
from ray.serve.llm import LLMConfig

from deployments.server import AndesServer
from scheduler.settings import REPORT_ENDPOINT_ENV
from telemetry.channel import ReportPublisher
from telemetry.report import EngineReport
from telemetry.routing_stats import from_routing_stats

# Serve awaits `__del__`; the garbage collector calls it once more and cannot.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .*__del__:RuntimeWarning")

REPORT = EngineReport(
    epoch="e",
    seq=1,
    kv_blocks_total=64,
    kv_blocks_used=8,
    block_size_tokens=128,
    kv_blocks_preemptible=(0, 0, 0, 0),
    demand_tokens=1024,
    running=1,
    waiting=0,
    preempted=0,
    accepted_total=1,
    finished_total=0,
    preemptions_total=0,
    plan_failures_total=0,
    tokens_total=5,
    mean_output_tokens=0.0,
    step_time_s=0.01,
    qoe_mean=1.0,
    qoe_p5=1.0,
)


class Engine:
    """Stands in for vLLM: reports once to where its environment says."""

    def __init__(self, config: LLMConfig) -> None:
        self.asked: list[Any] = []

    async def start(self) -> None:
        self.publisher = ReportPublisher(os.environ[REPORT_ENDPOINT_ENV])
        self.publisher.publish(REPORT)

    async def shutdown(self) -> None:
        self.publisher.close()

    def routing_stats(self) -> dict[str, Any]:
        return {"of": "the engine"}

    async def chat(self, request: Any, raw_request_info: Any) -> AsyncIterator[str]:
        self.asked.append(request)
        yield "an answer"

    completions = chat


class Server(AndesServer):
    async def _start_engine(self) -> None:
        # Without Ray's usage statistics, which would start a cluster.
        await self.engine.start()


@pytest.fixture
async def server() -> AsyncIterator[AndesServer]:
    config = LLMConfig(
        model_loading_config={"model_id": "tiny"}, accelerator_config={"kind": "cpu"}
    )
    server = Server.sync_init(config, engine_cls=Engine)
    await server.start()
    yield server
    await server.__del__()


async def test_the_engines_report_reaches_the_routing_stats(server: AndesServer) -> None:
    for _ in range(1000):
        stats = await server.record_routing_stats()
        if from_routing_stats(stats) == REPORT:
            break
        await asyncio.sleep(0.01)
    assert from_routing_stats(stats) == REPORT
    assert stats["of"] == "the engine"


async def test_the_endpoint_is_told_to_the_engine_alone(server: AndesServer) -> None:
    assert REPORT_ENDPOINT_ENV not in os.environ


async def test_a_start_that_fails_leaves_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(Engine):
        async def start(self) -> None:
            raise RuntimeError("no memory")

    monkeypatch.setenv(REPORT_ENDPOINT_ENV, "before")
    config = LLMConfig(
        model_loading_config={"model_id": "tiny"}, accelerator_config={"kind": "cpu"}
    )
    server = Server.sync_init(config, engine_cls=Broken)
    with pytest.raises(RuntimeError, match="no memory"):
        await server.start()
    assert os.environ[REPORT_ENDPOINT_ENV] == "before"


def chat(**more: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest(
        model="tiny", messages=[{"role": "user", "content": "hi"}], **more
    )


def completion(**more: Any) -> CompletionRequest:
    return CompletionRequest(model="tiny", prompt="hi", **more)


@pytest.mark.parametrize("make", [chat, completion])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fields", [{"vllm_xargs": {"qoe_tds": float("nan")}}, {"qoe_tds": 4.8}]
)
async def test_a_bad_field_through_a_handle_is_refused_before_the_engine(
    server: AndesServer, make: Any, stream: bool, fields: dict[str, Any]
) -> None:
    method = server.chat if make is chat else server.completions
    answers = [a async for a in await method(make(stream=stream, **fields))]
    (answer,) = answers
    assert isinstance(answer, ErrorResponse)
    assert (answer.error.code, answer.error.param) == (400, "qoe_tds")
    assert server.engine.asked == []


@pytest.mark.parametrize("make", [chat, completion])
async def test_a_good_request_through_a_handle_reaches_the_engine(
    server: AndesServer, make: Any
) -> None:
    method = server.chat if make is chat else server.completions
    request = make(vllm_xargs={"qoe_tds": 4.8})
    assert [a async for a in await method(request)] == ["an answer"]
    assert server.engine.asked == [request]
