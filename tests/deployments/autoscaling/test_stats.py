"""What replicas record for the autoscaler, and what it makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from deployments.autoscaling import MAX_STATS_AGE_S, autoscaling_stats
from deployments.server import AndesServer
from deployments.telemetry import ReplicaTelemetry
from router.replica_load import ReplicaLoad
from telemetry.channel import ReportPublisher
from telemetry.report import EngineReport


def test_replicas_record_plain_numbers_and_nothing_before_their_first_report(
    trouble: EngineReport,
) -> None:
    assert autoscaling_stats(None) == {}
    stats = autoscaling_stats(trouble)
    assert len(stats) == len(ReplicaLoad._fields)
    assert all(type(value) is float for value in stats.values())
    assert len(json.dumps(stats)) < 1024


# Serve awaits `__del__`; the garbage collector calls it once more and cannot.
@pytest.mark.filterwarnings("ignore:coroutine .*__del__:RuntimeWarning")
async def test_a_server_records_what_its_engine_said_last(trouble: EngineReport) -> None:
    server = AndesServer.__new__(AndesServer)
    assert await server.record_autoscaling_stats() == {}
    with contextlib.closing(ReplicaTelemetry("127.0.0.1")) as telemetry:
        server._telemetry = telemetry
        assert await server.record_autoscaling_stats() == {}
        engine = ReportPublisher(telemetry.engine_endpoint)
        engine.publish(trouble)
        for _ in range(1000):
            if stats := await server.record_autoscaling_stats():
                break
            await asyncio.sleep(0.01)
        engine.close()
    assert stats == autoscaling_stats(trouble)


@pytest.mark.parametrize(
    ("is_whole", "changes"),
    [
        pytest.param(False, {}, id="nothing"),
        pytest.param(False, {"andes_streams": 5.0}, id="half of it"),
        pytest.param(True, {"andes_short": math.nan}, id="nan"),
        pytest.param(True, {"andes_short": "many"}, id="text"),
        pytest.param(True, {"andes_short": None}, id="none"),
    ],
)
def test_a_replica_that_records_garbage_moves_nothing(
    is_whole: bool,
    changes: dict[str, Any],
    new_controller: Callable[..., Any],
    trouble: EngineReport,
) -> None:
    stats = (autoscaling_stats(trouble) if is_whole else {}) | changes
    controller = new_controller()
    controller.push(0, stats)
    controller.push(1, stats)
    assert controller.decide() == 2


def test_what_was_recorded_long_ago_is_not_believed(
    new_controller: Callable[..., Any], trouble: EngineReport
) -> None:
    for age_s, is_believed in ((MAX_STATS_AGE_S + 1.0, False), (1.0, True)):
        controller = new_controller()
        for replica in range(2):
            controller.push(replica, autoscaling_stats(trouble), age_s=age_s)
        assert (controller.decide() > 2) is is_believed
