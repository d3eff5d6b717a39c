from typing import Any

import pytest

from bench.fleet.results import FleetSummary, Imbalance
from bench.replay.results import PlanMs
from bench.results import Environment
from bench.routing.cells import Job
from bench.routing.results import RoutingResult, Row
from bench.scores import Stall, Tds, Ttft


def _summary(p5: float, **changes: Any) -> FleetSummary:
    values: dict[str, Any] = {
        "mean_qoe_area": 0.9,
        "p5_qoe_area": p5,
        "share_qoe_area_ge_0_95": p5,
        "mean_qoe_delay": 0.95,
        "p5_qoe_delay": 0.9,
        "share_qoe_delay_ge_0_95": 0.9,
        "ttft_s": Ttft(1.0, 0.5, 9.0),
        "stall_s": Stall(0.0, 0.0, 0.0),
        "tds": Tds(20.0),
        "tokens_per_s": 4000.0,
        "requests": 1200,
        "preemptions_per_request": 0.3,
        "peak_waiting": 9,
        "plan_ms": PlanMs(0.1, 0.2),
        "refused": 0,
        "makespan_s": 120.0,
        "router": "qoe",
        "replicas": (),
        "imbalance": Imbalance(0.1, 0.2),
        "failed": 0,
        "rerouted": 0,
        "resumed": 0,
        "gpu_seconds": 960.0,
        "fallbacks": 0,
    }
    return FleetSummary(**(values | changes))


def _row(scenario: str, router: str, seed: int, p5: float, **changes: Any) -> Row:
    return Row(
        job=Job(scenario=scenario, router=router, seed=seed),
        summary=_summary(p5, **changes),
        plan_failures=0,
        wall_s=1.0,
    )


def _result(*rows: Row, **changes: Any) -> RoutingResult:
    values: dict[str, Any] = {
        "command": "andes routers",
        "environment": Environment(commit="abc", dirty=False, python="3.11", cpu_count=2),
        "duration_s": 100.0,
        "lengths": "lengths.csv",
        "failed": {},
        "rows": rows,
    }
    return RoutingResult(**(values | changes))


@pytest.fixture
def row() -> Any:
    """A builder of rows: scenario, router, seed, p5, and fields of the summary."""
    return _row


@pytest.fixture
def result() -> Any:
    """A builder of results from rows."""
    return _result
