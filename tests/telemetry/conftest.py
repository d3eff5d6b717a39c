from typing import Any

import pytest

from telemetry.report import EngineReport


def _make_report(**changes: Any) -> EngineReport:
    busy: dict[str, Any] = {
        "epoch": "first",
        "seq": 1,
        "kv_blocks_total": 1000,
        "kv_blocks_used": 100,
        "block_size_tokens": 16,
        "kv_blocks_preemptible": (90, 60, 30, 0),
        "demand_tokens": 1600,
        "running": 4,
        "waiting": 1,
        "preempted": 1,
        "accepted_total": 9,
        "finished_total": 4,
        "preemptions_total": 2,
        "plan_failures_total": 0,
        "tokens_total": 5000,
        "mean_output_tokens": 211.4,
        "step_time_s": 0.01234,
        "qoe_mean": 0.987,
        "qoe_p5": 0.71,
    }
    return EngineReport(**(busy | changes))


@pytest.fixture
def make_report() -> Any:
    """A builder of valid reports; keywords replace fields."""
    return _make_report
