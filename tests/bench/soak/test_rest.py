"""An engine is at rest when its report has nothing left in it."""

from __future__ import annotations

from typing import Any

import pytest

from bench.soak.rest import not_at_rest
from telemetry.report import EngineReport


def report(**values: Any) -> EngineReport:
    nothing: dict[str, Any] = dict.fromkeys(
        (
            "seq", "kv_blocks_used", "demand_tokens", "running", "waiting", "preempted",
            "preemptions_total", "plan_failures_total", "mean_output_tokens", "step_time_s",
        ),
        0,
    )  # fmt: skip
    return EngineReport(
        epoch="e",
        **nothing
        | {
            "kv_blocks_total": 64,
            "block_size_tokens": 16,
            "kv_blocks_preemptible": (0, 0, 0, 0),
            "accepted_total": 7,
            "finished_total": 7,
            "tokens_total": 100,
            "qoe_mean": 1.0,
            "qoe_p5": 1.0,
        }
        | values,
    )


def test_an_engine_that_has_served_all_is_at_rest() -> None:
    assert not not_at_rest(report())


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({"running": 1}, "1 running"),
        ({"waiting": 2}, "2 waiting"),
        ({"finished_total": 6}, "1 accepted and not finished"),
        ({"kv_blocks_used": 3}, "3 KV blocks"),
        ({"demand_tokens": 40}, "40 tokens of demand"),
        ({"plan_failures_total": 1}, "1 plans that failed"),
    ],
)
def test_what_an_engine_still_has_is_told(left: dict[str, int], said: str) -> None:
    assert not_at_rest(report(**left)) == said
