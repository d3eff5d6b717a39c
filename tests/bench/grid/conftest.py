from itertools import product

import pytest

from bench.grid.cells import (
    CELLS,
    CONTENDERS,
    REGIMES,
    Contender,
    Load,
    Regime,
)
from bench.grid.results import GridResult, RegimeFacts, Row
from bench.replay.results import PlanMs, RunSummary
from bench.results import Environment
from bench.scores import Stall, Tds, Ttft

QOE = {"fcfs": 0.3, "andes-paper": 0.5, "andes": 0.8}


def make_metrics(qoe: float = 0.8, **fields) -> RunSummary:
    given = {
        "mean_qoe_area": qoe,
        "p5_qoe_area": qoe / 2,
        "share_qoe_area_ge_0_95": qoe / 3,
        "mean_qoe_delay": qoe,
        "p5_qoe_delay": qoe,
        "share_qoe_delay_ge_0_95": qoe,
        "ttft_s": Ttft(1 / qoe, 1 / qoe, 9 / qoe),
        "stall_s": Stall(0.1, 0.2, 1 / qoe),
        "tds": Tds(20.0),
        "tokens_per_s": 1000.0,
        "requests": 100,
        "preemptions_per_request": 0.5,
        "peak_waiting": 3,
        "plan_ms": PlanMs(0.2, 1.2),
        "refused": 0,
        "makespan_s": 300.0,
    }
    return RunSummary(**{**given, **fields})


def make_row(
    regime: str, load: Load, contender: Contender, seed: int = 0, **metrics
) -> Row:
    return Row(
        regime=regime,
        cell=load.name,
        contender=contender,
        seed=seed,
        load=load,
        rate=2.0 * load.rate_share,
        plan_failures=0,
        wall_s=1.0,
        metrics=make_metrics(**metrics),
    )


def make_rows(*regimes: str, seeds: int = 2) -> list[Row]:
    """Every contender in every cell, each with its QoE of `QOE`, and more at seed 1."""
    return [
        make_row(regime, load, contender, seed, qoe=QOE[contender.scheduler] + 0.02 * seed)
        for regime, load, contender, seed in product(
            regimes, CELLS, CONTENDERS, range(seeds)
        )
    ]


def make_result(rows: list[Row], **fields) -> GridResult:
    names = sorted({row.regime for row in rows})
    given = {
        "command": "andes grid",
        "arguments": {"cycle_s": 300.0},
        "environment": Environment(
            commit="abc" * 8, dirty=False, python="3.11", cpu_count=2
        ),
        "regimes": {name: _facts(REGIMES[name]) for name in names},
        "planned": len(rows),
        "failed": {},
        "rows": rows,
    }
    return GridResult(**{**given, **fields})


def _facts(regime: Regime) -> RegimeFacts:
    return RegimeFacts(
        title=regime.title,
        profile=regime.profile,
        lengths="lengths.csv",
        ttft_s=regime.ttft_s,
        tds="reading",
        rate=2.0,
        saturation_requests=1000,
    )


class Rows:
    """The builders; test modules cannot import from a conftest."""

    row = staticmethod(make_row)
    rows = staticmethod(make_rows)
    result = staticmethod(make_result)


@pytest.fixture
def make() -> type[Rows]:
    return Rows
