"""Serve's autoscaling state, the contexts it makes, and what replicas report to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ray.serve._private.autoscaling_state import DeploymentAutoscalingState
from ray.serve._private.common import (
    DeploymentID,
    ReplicaID,
    ReplicaMetricReport,
    TimeStampedValue,
)
from ray.serve._private.config import DeploymentConfig
from ray.serve._private.deployment_info import DeploymentInfo
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from deployments.autoscaling import autoscaling_options, autoscaling_stats
from router.scaling import ScalingSettings
from telemetry.report import EngineReport

DEPLOYMENT = DeploymentID("llm")
REPLICAS = [ReplicaID(f"replica-{i}", DEPLOYMENT) for i in range(8)]
LIMITS = ScalingSettings(min_replicas=1, max_replicas=6)


def _report(**changes: Any) -> EngineReport:
    calm: dict[str, Any] = {
        "epoch": "e",
        "seq": 1,
        "kv_blocks_total": 6000,
        "kv_blocks_used": 0,
        "block_size_tokens": 16,
        "kv_blocks_preemptible": (0, 0, 0, 0),
        "demand_tokens": 20_000,
        "running": 100,
        "waiting": 0,
        "preempted": 0,
        "accepted_total": 1000,
        "finished_total": 900,
        "preemptions_total": 0,
        "plan_failures_total": 0,
        "tokens_total": 100_000,
        "mean_output_tokens": 100.0,
        "step_time_s": 0.02,
        "qoe_mean": 1.0,
        "qoe_p5": 1.0,
        "step_base_s": 0.01,
        "step_per_stream_s": 1e-4,
        "prefill_s_per_token": 1e-4,
        "slack_histogram": (0, 0, 0, 0, 0, 50, 50, 0),
    }
    return EngineReport(**(calm | changes))


@pytest.fixture(scope="session")
def calm() -> EngineReport:
    """Replicas that no reader waits for."""
    return _report()


@pytest.fixture(scope="session")
def idle() -> EngineReport:
    """Replicas that nobody reads from."""
    return _report(running=0, demand_tokens=0, slack_histogram=(0,) * 8)


@pytest.fixture(scope="session")
def trouble() -> EngineReport:
    """A burst: most readers are late."""
    return _report(
        running=60,
        waiting=140,
        demand_tokens=40_000,
        prefill_backlog_tokens=60_000,
        streams_below_target=120,
        slack_histogram=(120, 20, 20, 20, 20, 0, 0, 0),
    )


class Controller:
    """Serve's autoscaling state of one deployment, and the replicas that push to it."""

    def __init__(self, limits: ScalingSettings = LIMITS, replicas: int = 2) -> None:
        options = autoscaling_options(limits, replicas)
        info = DeploymentInfo(
            deployment_config=DeploymentConfig(num_replicas=None, **options),
            replica_config=None,
            start_time_ms=0,
            deployer_job_id="job",
            version="1",
        )
        self.state = DeploymentAutoscalingState(DEPLOYMENT)
        self.target = self.state.register(info, replicas)
        self.run(self.target)

    def run(self, replicas: int) -> None:
        self.state.update_running_replica_ids(REPLICAS[:replicas])

    def push(self, replica: int, stats: Mapping[str, Any], age_s: float = 0.0) -> None:
        now_s = time.time()
        series = {k: [TimeStampedValue(now_s - age_s, v)] for k, v in stats.items()}
        self.state.record_request_metrics_for_replica(
            ReplicaMetricReport(REPLICAS[replica], metrics=series, timestamp=now_s)
        )

    def push_all(self, *reports: EngineReport) -> None:
        for replica, said in enumerate(reports):
            self.push(replica, autoscaling_stats(said))

    def decide(self) -> int:
        self.target = self.state.get_decision_num_replicas(self.target)
        return self.target


@pytest.fixture
def new_controller() -> type[Controller]:
    """Makes the autoscaling state of a deployment with so many replicas."""
    return Controller


def _context(
    memory: dict[str, Any],
    *,
    running: int = 2,
    ongoing: float = 0.0,
    config: AutoscalingConfig | None = None,
    bounds: tuple[int, int] = (1, 10),
) -> AutoscalingContext:
    return AutoscalingContext(
        deployment_id=DEPLOYMENT,
        deployment_name="llm",
        app_name="app",
        current_num_replicas=running,
        target_num_replicas=running,
        running_replicas=REPLICAS[:running],
        total_num_requests=ongoing,
        total_queued_requests=0.0,
        aggregated_metrics={},
        raw_metrics={},
        capacity_adjusted_min_replicas=bounds[0],
        capacity_adjusted_max_replicas=bounds[1],
        policy_state=memory,
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=100.0,
        config=config,
    )


@pytest.fixture
def new_context() -> Callable[..., AutoscalingContext]:
    """Makes what Serve asks a policy with."""
    return _context
