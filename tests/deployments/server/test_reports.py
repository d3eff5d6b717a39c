"""A replica listens to its engine, tells routers what it heard, and cleans up."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from deployments.server import AndesServer
from scheduler.settings import REPORT_ENDPOINT_ENV
from telemetry.broadcast import ReportListener
from telemetry.report import EngineReport
from telemetry.routing_stats import endpoint_of, from_routing_stats


async def test_the_engines_report_reaches_the_routing_stats(
    report: EngineReport, server: AndesServer
) -> None:
    for _ in range(1000):
        stats = await server.record_routing_stats()
        if from_routing_stats(stats) == report:
            break
        await asyncio.sleep(0.01)
    assert from_routing_stats(stats) == report
    assert stats["of"] == "the engine"


@pytest.fixture
async def reported(server: AndesServer) -> AsyncIterator[Callable[..., Any]]:
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
    report: EngineReport, server: AndesServer, reported: Any
) -> None:
    # With what only the fast path carries.
    full = msgspec.structs.replace(
        report,
        seq=2,
        marginal_loss=(0.5,) * 63,
        accepted_keys=(1, 2),
        slack_histogram=(1,) * 8,
    )
    await reported(lambda latest: latest == report)
    server.engine.publisher.publish(full)
    await reported(lambda latest: latest == full)


async def test_a_dead_engine_is_not_accepting_and_a_recovered_one_is(
    server: AndesServer, reported: Any
) -> None:
    server.engine.is_dead = True
    with pytest.raises(RuntimeError, match="dead"):
        await server.check_health()
    dead = await reported(lambda report: not report.accepting)
    slow = from_routing_stats(await server.record_routing_stats())
    assert slow is not None
    assert (slow.accepting, slow.seq) == (False, dead.seq)
    server.engine.is_dead = False
    await server.check_health()
    assert (await reported(lambda report: report.accepting)).seq > dead.seq


async def test_a_dead_engine_is_told_before_anybody_asks(
    server: AndesServer, reported: Any
) -> None:
    server.engine.is_dead = True
    await reported(lambda report: not report.accepting)


async def test_a_stopping_replica_says_so_before_its_engine_stops(
    server: AndesServer, reported: Any
) -> None:
    stopped = asyncio.Event()
    server.engine.shutdown = stopped.wait
    stopping = asyncio.create_task(server.__del__())
    await reported(lambda report: not report.accepting)
    stopped.set()
    await stopping
    assert not [t for t in threading.enumerate() if t.name == "andes-broadcast"]
    server.engine.publisher.close()


async def test_a_replica_whose_address_is_no_good_still_has_its_routing_stats(
    report: EngineReport,
    engine_class: Any,
    make_server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: "203.0.113.77")
    server = make_server(engine_class)
    await server.start()
    for _ in range(1000):
        stats = await server.record_routing_stats()
        if from_routing_stats(stats) == report:
            break
        await asyncio.sleep(0.01)
    assert from_routing_stats(stats) == report
    assert endpoint_of(stats) is None
    await server.__del__()


async def test_the_endpoint_is_told_to_the_engine_alone(server: AndesServer) -> None:
    assert REPORT_ENDPOINT_ENV not in os.environ


async def test_a_start_that_fails_leaves_the_environment_as_it_was(
    engine_class: Any,
    make_server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(engine_class):
        async def start(self) -> None:
            raise RuntimeError("no memory")

    monkeypatch.setenv(REPORT_ENDPOINT_ENV, "before")
    server = make_server(Broken)
    with pytest.raises(RuntimeError, match="no memory"):
        await server.start()
    assert os.environ[REPORT_ENDPOINT_ENV] == "before"
