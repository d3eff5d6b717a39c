from typing import Any

import msgspec
import pytest

from bench.routing.cells import BASELINES, BY_NAME, plan_jobs
from bench.routing.page import page
from bench.routing.plot import plot


def _line(text: str, start: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return found


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ((0.7, 0.7, 0.7, 0.7, 0.7), "reached"),
        ((0.7, 0.7, 0.7, 0.7, 0.5), "reached"),
        # On the mean, and not on four of five.
        ((0.9, 0.9, 0.9, 0.5, 0.5), "missed"),
        # On four of five, and not on the mean.
        ((0.61, 0.61, 0.61, 0.61, 0.1), "missed"),
    ],
)
def test_a_router_wins_on_the_mean_and_on_most_seeds(
    row: Any, result: Any, ours: tuple[float, ...], verdict: str
) -> None:
    rows = [row("equal", "qoe", seed, p5) for seed, p5 in enumerate(ours)]
    rows += [row("equal", "pow2", seed, 0.6) for seed in range(len(ours))]
    assert verdict in _line(page(result(*rows)), "equal: p5 above pow2")


def test_what_did_not_run_is_missed_and_said(row: Any, result: Any) -> None:
    text = page(result(row("equal", "qoe", 0, 0.7), failed={"equal, pow2, 0": "No: luck"}))
    assert "missed" in _line(text, "equal: p5 above pow2")
    assert "- equal, pow2, 0: No: luck" in text


def test_the_share_is_held_against_the_best_baseline(row: Any, result: Any) -> None:
    shares = {"qoe": 0.9, "kv_ledger": 0.7, "least_outstanding": 0.86, "pow2": 0.6}
    rows = [row("one slow", router, 0, share) for router, share in shares.items()]
    line = _line(page(result(*rows)), "one slow: share")
    assert "+0.040 over least_outstanding" in line
    assert "missed" in line


def test_old_reports_are_held_against_fresh_ones_of_the_same_seeds(
    row: Any, result: Any
) -> None:
    rows = [row("equal", "qoe", seed, 0.7, mean_qoe_area=0.9) for seed in range(3)]
    rows += [row("20 % lost", "qoe", 1, 0.7, mean_qoe_area=0.896)]
    line = _line(page(result(*rows)), "20 % lost")
    assert "-0.004" in line
    assert "reached" in line


def test_steps_that_could_not_be_planned_are_said(row: Any, result: Any) -> None:
    failed = msgspec.structs.replace(row("equal", "qoe", 0, 0.7), plan_failures=3)
    assert "3 steps could not be planned" in page(result(failed))


def test_every_scenario_with_a_run_has_its_table_and_a_picture(
    row: Any, result: Any, tmp_path: Any
) -> None:
    made = result(*(row(job.scenario, job.router, job.seed, 0.7) for job in plan_jobs()))
    text = page(made)
    assert all(f"## {name}\n" in text for name in BY_NAME)
    plot(made, tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").stat().st_size > 10_000


def test_all_baselines_meet_on_the_same_seeds() -> None:
    jobs = plan_jobs()
    for baseline in (*BASELINES, "qoe"):
        seeds = [j.seed for j in jobs if (j.scenario, j.router) == ("equal", baseline)]
        assert seeds == [0, 1, 2, 3, 4]
    assert {job.seed for job in plan_jobs(seeds=1)} == {0}


@pytest.mark.parametrize(
    ("ours", "pow2", "verdict"),
    [
        (0.96, 0.89, "| reached |"),
        (0.94, 0.89, "| **missed** |"),
        (0.80, 0.92, "| not asked: pow2 is not below |"),
    ],
)
def test_a_target_that_asks_nothing_is_not_reached(
    row: Any, result: Any, ours: float, pow2: float, verdict: str
) -> None:
    rows = [row("one slow", "qoe", 0, ours), row("one slow", "pow2", 0, pow2)]
    assert _line(page(result(*rows)), "one slow: p5").endswith(verdict)
