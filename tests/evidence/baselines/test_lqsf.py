import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evidence.baselines.lqsf import LqsfPolicy
from scheduler.policies import packing
from scheduler.settings import SchedulerSettings

POLICY = LqsfPolicy(SchedulerSettings())


def test_the_least_slack_is_served_and_the_most_leaves(snapshot_of) -> None:
    running = [{"tokens": 4}, {"tokens": 14}, {"tokens": 9}]
    waiting = [{"age_s": -5.0}, {"age_s": 5.0}]
    plan = POLICY.plan(snapshot_of(running, waiting))
    assert plan.admit.tolist() == [1]
    assert plan.preempt.tolist() == [1]
    assert plan.keep.tolist() == [0, 2]


def test_a_stream_weighs_what_it_holds(snapshot_of) -> None:
    """The authors' released baseline counts one block for each stream."""
    late = {"age_s": 9.0, "prompt_tokens": 300}
    running = [{"tokens": 50, "prompt_tokens": 62}] * 4
    plan = POLICY.plan(snapshot_of(running, [late]))
    assert plan.admit.tolist() == [0]
    assert plan.preempt.size == 3


def test_a_stream_within_its_residency_stays(snapshot_of) -> None:
    running = [{"tokens": 50, "since_s": 0.5}] * 3
    plan = POLICY.plan(snapshot_of(running, [{"age_s": 9.0}]))
    assert plan.preempt.size == 0


@given(seed=st.integers(0, 2**32))
def test_nobody_leaves_for_a_reader_with_more_slack(random_snapshot, seed) -> None:
    snapshot = random_snapshot(seed)
    plan = POLICY.plan(snapshot)
    if plan is not None and plan.preempt.size:
        slack_s, admitted = snapshot.slack_s, plan.admit + snapshot.num_running
        for victim in plan.preempt:
            ahead = admitted[slack_s[admitted] <= slack_s[victim]]
            behind = plan.preempt[slack_s[plan.preempt] > slack_s[victim]]
            slots = snapshot.max_running - snapshot.num_running + behind.size
            freed = snapshot.free_blocks + snapshot.blocks_held[behind].sum()
            assert snapshot.blocks[ahead].sum() > freed or ahead.size > slots


def test_who_is_left_out_where_packing_stops_stays(snapshot_of, monkeypatch) -> None:
    monkeypatch.setattr(packing, "MAX_ROUNDS", 1)
    late, giant = {"age_s": 3.0, "prompt_tokens": 48}, {"age_s": 2.0, "prompt_tokens": 999}
    plan = POLICY.plan(snapshot_of([{"tokens": 5}, {"tokens": 9}], [late, giant]))
    assert plan.admit.tolist() == [0]
    assert plan.preempt.tolist() == [1]


def test_readers_near_their_end_of_patience_are_served_first(make_engine, burst) -> None:
    engines = [
        make_engine(settings={"policy": policy})
        for policy in ("evidence.baselines.lqsf:LqsfPolicy", "fcfs")
    ]
    for engine in engines:
        engine.run(burst(30))
    lqsf, fcfs = ([times[0] for times in e.delivered_at_s.values()] for e in engines)
    assert np.mean(lqsf) < np.mean(fcfs)
