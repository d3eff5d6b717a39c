import dataclasses

import numpy as np
import pytest

from evidence.baselines.paper import (
    PaperExact,
    PaperFirstVersion,
    PaperPolicy,
    PaperWithoutRefiner,
    batch_sizes,
    is_triggered,
)
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import StepTime

BUFFERED = {"tokens": 60}  # 12 s of reading
LATE = {"age_s": 2.0}


class Perfect(PaperWithoutRefiner):
    """Counts the readers who are never late."""

    objective = "perfect"


class Capped(PaperPolicy):
    """Both of the paper's limits at once."""

    preemption_cap = 1.0


def policy(cls=PaperPolicy) -> PaperPolicy:
    return cls(SchedulerSettings())


@pytest.mark.parametrize(
    ("free_blocks", "step_s", "expected"),
    [
        pytest.param(2, 0.02, False, id="nine tenths used is not yet scarce"),
        pytest.param(1, 0.02, True, id="memory is scarce"),
        pytest.param(99, 0.19, False, id="steps keep up with the fastest reader"),
        pytest.param(99, 0.21, True, id="steps are slower than the fastest reader"),
    ],
)
def test_it_plans_when_memory_or_speed_is_short(
    snapshot_of, free_blocks, step_s, expected
) -> None:
    running = [{"tokens": 80, "tds": tds} for tds in (5.0, 3.0)]
    snapshot = snapshot_of(
        running, free_blocks=free_blocks, step_time=StepTime(step_s, 0.0, 1e-4)
    )
    assert is_triggered(snapshot) is expected
    assert (policy().plan(snapshot) is not None) is expected


def test_no_batch_size_is_tried_that_serves_nobody_better(snapshot_of) -> None:
    """The fastest reader reads 5 tokens/s: up to 6 streams, steps take at most 0.2 s."""
    snapshot = snapshot_of(
        [{}] * 3, [{}] * 5, free_blocks=50, step_time=StepTime(0.02, 0.03, 1e-4)
    )
    assert batch_sizes(snapshot).tolist() == [6, 7, 8]
    fast = dataclasses.replace(snapshot, step_time=StepTime(0.02, 0.0, 1e-4))
    assert batch_sizes(fast).tolist() == [8]
    slow = dataclasses.replace(snapshot, step_time=StepTime(0.3, 0.0, 1e-4))
    assert batch_sizes(slow).tolist() == list(range(1, 9))


def test_a_smaller_batch_is_chosen_where_more_readers_stay_in_time(snapshot_of) -> None:
    """At ten streams a step takes 0.5 s, and no reader of 5 tokens/s is in time."""
    snapshot = snapshot_of(
        [{"tokens": 3, "age_s": 0.5, "ttft_s": 0.5}] * 10,
        free_blocks=99,
        step_time=StepTime(0.0, 0.05, 1e-4),
    )
    plan = policy(Perfect).plan(snapshot)
    assert plan.keep.size == 4


def test_a_short_context_gains_more_per_token(snapshot_of) -> None:
    waiting = [{"age_s": 1.0, "prompt_tokens": 90}, {"age_s": 3.0, "prompt_tokens": 30}]
    snapshot = snapshot_of(
        [{"tokens": 1, "prompt_tokens": 990}],
        waiting,
        free_blocks=6,
        resume_s=np.full(3, 9.0),
    )
    assert policy().plan(snapshot).admit.tolist() == [1]


def test_a_swap_is_made_only_if_it_is_worth_its_overhead(snapshot_of) -> None:
    running = [{**BUFFERED, "prompt_tokens": 80}, {"tokens": 1}]
    snapshot = snapshot_of(running, [LATE], horizon_s=PaperPolicy.horizon_s)
    for resume_s, preempted in ((0.01, [0]), (9.0, [])):
        priced = dataclasses.replace(snapshot, resume_s=np.full(3, resume_s))
        assert policy().plan(priced).preempt.tolist() == preempted
        assert policy(PaperWithoutRefiner).plan(priced).preempt.tolist() == [0]


def test_with_offload_the_transfer_is_the_overhead(snapshot_of) -> None:
    running = [{**BUFFERED, "prompt_tokens": 80}, {"tokens": 1}]
    for transfer_s_per_token, preempted in ((1e-5, [0]), (0.1, [])):
        settings = SchedulerSettings(
            resume="offload", transfer_s_per_token=transfer_s_per_token
        )
        snapshot = snapshot_of(running, [LATE], settings=settings)
        assert PaperPolicy(settings).plan(snapshot).preempt.tolist() == preempted


def test_a_swap_that_is_not_worth_it_leaves_no_memory_idle(snapshot_of) -> None:
    large, small = {**LATE, "prompt_tokens": 150}, {"age_s": 0.5, "prompt_tokens": 16}
    snapshot = snapshot_of(
        [{**BUFFERED, "prompt_tokens": 900}],
        [large, small],
        free_blocks=5,
        horizon_s=PaperPolicy.horizon_s,
    )
    dear = dataclasses.replace(snapshot, resume_s=np.full(3, 9.0))
    plan = policy().plan(dear)
    assert plan.preempt.size == 0
    assert plan.admit.tolist() == [1]


@pytest.mark.parametrize("capped", [Capped, PaperFirstVersion])
def test_preemptions_end_at_the_cap(snapshot_of, capped) -> None:
    running = [{**BUFFERED, "prompt_tokens": 4}] * 4
    snapshot = snapshot_of(running, [LATE] * 4, accepted_total=100, resume_s=np.zeros(8))
    plans = [
        policy(capped).plan(dataclasses.replace(snapshot, preemptions_total=total))
        for total in (0, 98, 100, 200)
    ]
    assert [plan.preempt.size for plan in plans] == [4, 2, 0, 0]
    assert [plan.admit.size for plan in plans] == [4, 2, 0, 0]


def test_the_exact_solver_gains_at_least_what_the_greedy_gains(random_snapshot) -> None:
    for seed in range(50):
        snapshot = random_snapshot(seed)
        greedy, exact = (
            policy(cls)._solve(snapshot).value for cls in (PaperPolicy, PaperExact)
        )
        assert exact >= greedy - 1e-9


def test_the_refiner_preempts_less(make_engine, burst) -> None:
    engines = [
        make_engine(policy=policy(cls)) for cls in (PaperPolicy, PaperWithoutRefiner)
    ]
    for engine in engines:
        engine.run(burst(40))
    refined, raw = (e.scheduler.streams.preemptions_total for e in engines)
    assert 0 < refined < raw
