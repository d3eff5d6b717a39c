"""A replica with somebody in the place of its engine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from ray.serve.llm import LLMConfig

from deployments.server import AndesServer
from scheduler.settings import FEEDBACK_ENDPOINT_ENV, REPORT_ENDPOINT_ENV
from telemetry.channel import ReportPublisher
from telemetry.report import EngineReport

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Serve awaits `__del__`; the garbage collector calls it once more and cannot.
    once_more = pytest.mark.filterwarnings("ignore:coroutine .*__del__:RuntimeWarning")
    for item in items:
        if "tests/deployments/server/" in item.nodeid:
            item.add_marker(once_more)


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
        self.listens_at = os.environ[FEEDBACK_ENDPOINT_ENV]

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


def _make(engine_class: type[Engine]) -> AndesServer:
    config = LLMConfig(
        model_loading_config={"model_id": "tiny"}, accelerator_config={"kind": "cpu"}
    )
    return Server.sync_init(config, engine_cls=engine_class)


@pytest.fixture
def report() -> EngineReport:
    """What the engine reports at its start."""
    return REPORT


@pytest.fixture
def engine_class() -> type[Engine]:
    return Engine


@pytest.fixture
def make_server() -> Callable[[type[Engine]], AndesServer]:
    """A replica that is not started, with an engine of that class."""
    return _make


@pytest.fixture
async def server() -> AsyncIterator[AndesServer]:
    """A replica that is started."""
    server = _make(Engine)
    await server.start()
    yield server
    await server.__del__()
