import dataclasses

import numpy as np

from bench.load import PlannedStream
from evidence.baselines.shortest_prompt import ShortestPromptPolicy
from qoe import Expectation
from scheduler.settings import SchedulerSettings

POLICY = ShortestPromptPolicy(SchedulerSettings())


def new(prompt_tokens: int, age_s: float = 1.0) -> dict[str, float]:
    return {"prompt_tokens": prompt_tokens, "age_s": age_s}


def test_the_shortest_prompts_come_first_as_far_as_they_fit(snapshot_of) -> None:
    waiting = [new(160), new(16), new(48), new(32)]
    plan = POLICY.plan(snapshot_of([{}], waiting, free_blocks=5))
    assert plan.admit.tolist() == [1, 3]


def test_the_older_of_two_equal_prompts_comes_first(snapshot_of) -> None:
    plan = POLICY.plan(snapshot_of([{}], [new(64, 1.0), new(64, 2.0)], free_blocks=4))
    assert plan.admit.tolist() == [1]


def test_nobody_is_preempted_however_far_ahead(snapshot_of) -> None:
    plan = POLICY.plan(snapshot_of([{"tokens": 500}] * 2, [new(16)]))
    assert plan.preempt.size == 0
    assert plan.keep.tolist() == [0, 1]


def test_an_evicted_stream_is_not_overtaken_even_where_it_does_not_fit(snapshot_of) -> None:
    evicted = {"tokens": 20, "prompt_tokens": 300, "preemptions": 1}
    blocked = snapshot_of([{}], [new(16), evicted], free_blocks=4)
    assert POLICY.plan(blocked).admit.size == 0
    fits = snapshot_of([{}], [new(16), evicted], free_blocks=20)
    assert POLICY.plan(fits).admit.tolist() == [1]


def test_prompts_of_more_than_a_step_are_ordered_where_memory_is_plenty(
    snapshot_of,
) -> None:
    waiting = [new(1500), new(500), new(100)]
    snapshot = snapshot_of([], waiting, free_blocks=999)
    assert POLICY.plan(snapshot).admit.tolist() == [2, 1, 0]
    roomy = dataclasses.replace(snapshot, token_budget=2100)
    assert POLICY.plan(roomy) is None


def test_short_prompts_are_answered_sooner_than_in_order_of_arrival(make_engine) -> None:
    load = [
        PlannedStream(0.0, 400 if i < 6 else 20, 40, Expectation(1.0, 5.0))
        for i in range(12)
    ]
    engines = [make_engine(40, policy=POLICY), make_engine(40, settings={"policy": "fcfs"})]
    for engine in engines:
        engine.run(load)
    ours_s, fcfs_s = (
        np.array([engine.delivered_at_s[str(i)][0] for i in range(6, 12)])
        for engine in engines
    )
    assert ours_s.max() < fcfs_s.min()
