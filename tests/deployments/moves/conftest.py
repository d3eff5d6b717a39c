"""A fleet of two, as it looks from one that is to move whatever waits."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from router.mover import MoveSettings
from telemetry.report import EngineReport

HOME = EngineReport(
    epoch="e",
    seq=1,
    kv_blocks_total=1000,
    kv_blocks_used=500,
    block_size_tokens=16,
    kv_blocks_preemptible=(0, 0, 0, 0),
    demand_tokens=8000,
    running=20,
    waiting=3,
    preempted=0,
    accepted_total=0,
    finished_total=0,
    preemptions_total=0,
    plan_failures_total=0,
    tokens_total=10_000,
    mean_output_tokens=200.0,
    step_time_s=0.01,
    qoe_mean=1.0,
    qoe_p5=1.0,
)
IDLE = msgspec.structs.replace(HOME, waiting=0, demand_tokens=0, running=0)

Reports = Callable[[], list[tuple[str, EngineReport]]]


@pytest.fixture
def always() -> MoveSettings:
    return MoveSettings(max_slack_s=1000.0, min_gain=-1000.0, quiet_s=0.0)


@pytest.fixture
def reports() -> Reports:
    """Streams wait at home, and nobody at its peer."""
    return lambda: [("home", HOME), ("peer", IDLE)]


@pytest.fixture
def quiet_reports() -> Reports:
    """Nobody waits anywhere."""
    return lambda: [("home", msgspec.structs.replace(HOME, waiting=0)), ("peer", IDLE)]
