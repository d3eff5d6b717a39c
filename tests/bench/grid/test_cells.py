from collections import Counter
from dataclasses import replace

import pytest

from bench.grid.arguments import GridArguments
from bench.grid.cells import (
    ABLATIONS,
    ANDES,
    CENTRE,
    CONTENDERS,
    FCFS,
    MEMORY,
    REGIMES,
    SWEEP,
    plan_jobs,
)
from bench.grid.setups import setup_of
from bench.replay.profiles import latency_profile
from bench.replay.schedulers import settings_of
from bench.replay.workload import plan_workload

ALL = list(REGIMES.values())


def test_every_run_is_planned_once() -> None:
    jobs = plan_jobs(ALL)
    assert max(Counter(jobs).values()) == 1
    assert {job.regime for job in jobs} == set(REGIMES)


def test_seeds_are_the_regimes_own_or_those_asked_for() -> None:
    def seeds(asked, contender) -> dict[str, int]:
        jobs = plan_jobs(ALL, asked)
        return {
            name: sum(
                (j.load, j.contender, j.regime) == (CENTRE, contender, name) for j in jobs
            )
            for name in REGIMES
        }

    assert seeds(None, ANDES) == {name: r.seeds for name, r in REGIMES.items()}
    assert seeds(None, MEMORY[0]) == {name: r.memory_seeds for name, r in REGIMES.items()}
    assert seeds(7, ANDES) == {"A": 7, "B": 7, "C": 7}
    assert seeds(7, MEMORY[0]) == {"A": 7, "B": 0, "C": 7}
    assert seeds(7, ABLATIONS["C"][0])["C"] == 2
    assert seeds(1, ABLATIONS["C"][0])["C"] == 1


def test_the_sweeps_share_their_centre() -> None:
    assert len(set(SWEEP)) == 5
    assert all(load.intensity * load.burst_share <= 1 for load in SWEEP)


def test_names_tell_contenders_and_loads_apart() -> None:
    jobs = plan_jobs(ALL)
    for part in ({job.contender for job in jobs}, {job.load for job in jobs}):
        assert len({item.name for item in part}) == len(part)
    assert [c.name for c in CONTENDERS[-2:]] == ["andes-paper offload", "andes offload"]


@pytest.mark.parametrize("regime", ALL, ids=list(REGIMES))
def test_every_cell_is_one_that_replay_takes(regime) -> None:
    arguments = GridArguments(cycle_s=2.0, sharegpt=None, azure=None)
    setup = setup_of(regime, arguments)
    assert plan_workload(setup.saturation)
    jobs = plan_jobs([regime])
    for contender in {job.contender for job in jobs}:
        cell = setup.cell(next(job for job in jobs if job.contender == contender))
        settings_of(cell, latency_profile(cell.profile))


def test_a_run_is_expected_to_cost_what_its_tokens_cost(tmp_path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("input_tokens,output_tokens\n10,100\n10,300\n")
    setup = setup_of(REGIMES["C"], GridArguments(cycle_s=50.0, sharegpt=path))
    jobs = {job.contender: job for job in plan_jobs([REGIMES["C"]]) if job.load == CENTRE}
    start_s = setup.cost_s(jobs[FCFS])
    cost_s = replace(setup, rate=2.0).cost_s(jobs[FCFS])
    assert cost_s - start_s == pytest.approx(2.0 * 50.0 * 200 * 21e-6)
    assert replace(setup, rate=2.0).cost_s(jobs[ANDES]) > cost_s
