from typing import Any

import pytest

from telemetry.report import EngineReport


def _make_report(**changes: Any) -> EngineReport:
    # A cache of 16,000 tokens: one score step is 16 tokens.
    idle: dict[str, Any] = {
        "epoch": "first",
        "seq": 1,
        "kv_blocks_total": 1000,
        "kv_blocks_used": 0,
        "block_size_tokens": 16,
        "kv_blocks_preemptible": (0, 0, 0, 0),
        "demand_tokens": 0,
        "running": 0,
        "waiting": 0,
        "preempted": 0,
        "accepted_total": 0,
        "finished_total": 0,
        "preemptions_total": 0,
        "plan_failures_total": 0,
        "tokens_total": 0,
        "mean_output_tokens": 0.0,
        "step_time_s": 0.01,
        "qoe_mean": 1.0,
        "qoe_p5": 1.0,
    }
    return EngineReport(**(idle | changes))


@pytest.fixture(scope="session")
def make_report() -> Any:
    """A builder of idle reports; keywords replace fields."""
    return _make_report


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, by_s: float) -> None:
        self.now_s += by_s


@pytest.fixture
def clock() -> Clock:
    return Clock()
