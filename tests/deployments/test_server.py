"""A replica listens to its engine, tells routers what it heard, and cleans up."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    ErrorResponse,
)
from ray.llm._internal.serve.engines.vllm.vllm_engine import _canonicalize_request_id_header
from ray.serve.context import _RequestContext, _serve_request_context
from ray.serve.llm import LLMConfig
from vllm.entrypoints.serve.engine.serving import BaseServing
from vllm.v1.engine.input_processor import InputProcessor

from deployments.server import AndesServer
from scheduler.request_ids import serve_request_id
from scheduler.settings import REPORT_ENDPOINT_ENV
from telemetry.broadcast import ReportListener
from telemetry.channel import ReportPublisher
from telemetry.report import EngineReport
from telemetry.routing_stats import endpoint_of, from_routing_stats

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
# With what only the fast path carries.
FULL_REPORT = msgspec.structs.replace(
    REPORT, seq=2, harm=(0.5,) * 63, accepted_keys=(1, 2), slack_histogram=(1,) * 8
)


class Engine:
    """Stands in for vLLM: reports once to where its environment says, and may die."""

    def __init__(self, config: LLMConfig) -> None:
        self.asked: list[Any] = []
        self.is_dead = False

    async def check_health(self) -> None:
        if self.is_dead:
            raise RuntimeError("the engine is dead")

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


@pytest.fixture
async def hear(server: AndesServer) -> AsyncIterator[Callable[..., Any]]:
    """Waits, as a router at the advertised endpoint, for a report that fits."""
    with ReportListener() as listener:
        endpoint = endpoint_of(await server.record_routing_stats())
        assert endpoint is not None
        listener.connect("replica", endpoint)

        async def until(wanted: Callable[[EngineReport], bool]) -> EngineReport:
            for _ in range(1000):
                for replica, report in listener.poll():
                    assert replica == "replica"
                    if wanted(report):
                        return report
                await asyncio.sleep(0.01)
            raise AssertionError("not heard within 10 s")

        yield until
        assert listener.refused_total == 0


async def test_a_router_hears_the_engines_report_in_full(
    server: AndesServer, hear: Any
) -> None:
    await hear(lambda report: report == REPORT)
    server.engine.publisher.publish(FULL_REPORT)
    await hear(lambda report: report == FULL_REPORT)


async def test_a_dead_engine_is_not_accepting_and_a_recovered_one_is(
    server: AndesServer, hear: Any
) -> None:
    server.engine.is_dead = True
    with pytest.raises(RuntimeError, match="dead"):
        await server.check_health()
    dead = await hear(lambda report: not report.accepting)
    slow = from_routing_stats(await server.record_routing_stats())
    assert slow is not None
    assert (slow.accepting, slow.seq) == (False, dead.seq)
    server.engine.is_dead = False
    await server.check_health()
    assert (await hear(lambda report: report.accepting)).seq > dead.seq


async def test_a_dead_engine_is_told_before_anybody_asks(
    server: AndesServer, hear: Any
) -> None:
    server.engine.is_dead = True
    await hear(lambda report: not report.accepting)


async def test_a_stopping_replica_says_so_before_its_engine_stops(
    server: AndesServer, hear: Any
) -> None:
    stopped = asyncio.Event()
    server.engine.shutdown = stopped.wait
    stopping = asyncio.create_task(server.__del__())
    await hear(lambda report: not report.accepting)
    stopped.set()
    await stopping
    assert not [t for t in threading.enumerate() if t.name == "andes-broadcast"]
    server.engine.publisher.close()


async def test_a_replica_whose_address_is_no_good_still_has_its_routing_stats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "203.0.113.77")
    config = LLMConfig(
        model_loading_config={"model_id": "tiny"}, accelerator_config={"kind": "cpu"}
    )
    server = Server.sync_init(config, engine_cls=Engine)
    await server.start()
    for _ in range(1000):
        stats = await server.record_routing_stats()
        if from_routing_stats(stats) == REPORT:
            break
        await asyncio.sleep(0.01)
    assert from_routing_stats(stats) == REPORT
    assert endpoint_of(stats) is None
    await server.__del__()


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


@pytest.mark.parametrize(
    ("make", "name"), [(chat, "chatcmpl-{}"), (completion, "cmpl-{}-0")]
)
async def test_serves_request_id_is_found_again_in_the_engine_behind_a_handle(
    server: AndesServer, make: Any, name: str
) -> None:
    """Serve LLM's and vLLM's own code, but for the name, which is pinned elsewhere."""
    token = _serve_request_context.set(_RequestContext(request_id="serves-own-id"))
    method = server.chat if make is chat else server.completions
    assert [a async for a in await method(make())] == ["an answer"]
    _serve_request_context.reset(token)
    info = _canonicalize_request_id_header(server.engine.asked[0], None)
    http = info.to_starlette_request() if info else None
    wrapped = name.format(BaseServing._base_request_id(http, None))
    in_engine = SimpleNamespace(request_id=wrapped, external_req_id=None)
    InputProcessor.assign_request_id(in_engine)
    assert serve_request_id(in_engine.request_id) == "serves-own-id"
