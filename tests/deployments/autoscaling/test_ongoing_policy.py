"""Serve's own policy as we compute it, against Serve's own code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ray.serve.autoscaling_policy import (
    _apply_autoscaling_config,
    replica_queue_length_autoscaling_policy,
)
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from deployments.autoscaling import OngoingState, autoscaling_stats, ongoing_policy
from router.replica_load import FleetLoad, ReplicaLoad
from telemetry.report import EngineReport


@pytest.fixture
def fleet_with(calm: EngineReport) -> Callable[..., FleetLoad]:
    """Makes a fleet whose replicas hold so many streams each."""

    def make(*streams: float) -> FleetLoad:
        load = ReplicaLoad(*autoscaling_stats(calm).values())
        return FleetLoad.of({i: load._replace(streams=s) for i, s in enumerate(streams)})

    return make


def ongoing_config(**changes: Any) -> AutoscalingConfig:
    config: dict[str, Any] = {
        "max_replicas": 10,
        "target_ongoing_requests": 10,
        "upscale_delay_s": 0.0,
        "downscale_delay_s": 0.0,
    }
    return AutoscalingConfig(**(config | changes))


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("streams", [0.0, 4.0, 10.0, 11.0, 25.0])
@pytest.mark.parametrize("running", [1, 3])
def test_the_ongoing_policy_decides_as_serve_does(
    factor: float,
    streams: float,
    running: int,
    new_context: Callable[..., AutoscalingContext],
    fleet_with: Callable[..., FleetLoad],
) -> None:
    config = ongoing_config(upscaling_factor=factor, downscaling_factor=factor)
    ctx = new_context({}, running=running, ongoing=streams * running, config=config)
    serves, _ = _apply_autoscaling_config(replica_queue_length_autoscaling_policy)(ctx)
    fleet = fleet_with(*[streams] * running)
    ours, _ = ongoing_policy(fleet, running, OngoingState(), config, now_s=0.0)
    assert ours == min(max(serves, config.min_replicas), config.max_replicas)


def test_the_ongoing_policy_waits_and_averages_in_the_callers_time(
    fleet_with: Callable[..., FleetLoad],
) -> None:
    config = ongoing_config(
        upscale_delay_s=20.0, downscale_delay_s=50.0, look_back_period_s=30.0
    )
    replicas, state = 2, OngoingState()
    changes = []
    for second in range(300):
        fleet = fleet_with(*[30.0 if 100 <= second < 160 else 10.0] * 2)
        before = replicas
        replicas, state = ongoing_policy(fleet, replicas, state, config, float(second))
        changes += [(second, replicas - before)] if replicas != before else []
    # More than 10 on average from 100 s on, and for the delay.
    assert changes[0][0] == 120
    assert changes[0][1] > 0
    assert len(state.samples) == 30
