"""The run that the demo page plays."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm")

from bench.recording import PROFILE, record, shown_rows
from bench.replay.arguments import Cell
from qoe import Expectation, area_qoe, stall_s


@pytest.fixture(scope="module")
def recorded():
    cell = Cell(
        synthetic=True,
        rate=2.0,
        intensity=2.5,
        burst_share=0.4,
        cycle_s=30.0,
        profile=PROFILE,
        kv_tokens=8000,
    )
    return record(cell, 5)


def test_the_scores_are_those_of_the_tokens_that_are_shown(recorded) -> None:
    for run in recorded["runs"].values():
        for reader, steps in zip(recorded["readers"], run["tokens_ms"], strict=True):
            times_s = [sum(steps[: i + 1]) / 1000 for i in range(len(steps))]
            row, expected = reader["row"], Expectation(reader["ttft_s"], reader["tds"])
            assert len(times_s) == reader["output_tokens"]
            assert run["qoe"][row] == pytest.approx(area_qoe(times_s, expected), abs=2e-3)
            assert run["stall_ms"][row] / 1e3 == pytest.approx(
                stall_s(times_s, expected), abs=2e-3
            )
            assert run["first_ms"][row] == steps[0]
            assert run["end_ms"][row] == pytest.approx(sum(steps), abs=1)


def test_both_runs_have_the_same_readers_and_the_load_makes_a_difference(recorded) -> None:
    arrivals = recorded["arrivals_ms"]
    assert arrivals[0] == 0
    assert arrivals == sorted(arrivals)
    for run in recorded["runs"].values():
        assert len(run["qoe"]) == len(arrivals) == recorded["load"]["requests"]
        assert run["summary"]["requests"] == len(arrivals)
    means = {p: run["summary"]["mean_qoe_area"] for p, run in recorded["runs"].items()}
    assert means["andes"] > means["fcfs"] + 0.05


def test_readers_are_taken_evenly_and_by_nobodys_choice() -> None:
    assert shown_rows(100, 4) == [12, 37, 62, 87]
    assert shown_rows(3, 3) == [0, 1, 2]
