import numpy as np

from evidence.baselines import round_robin
from evidence.baselines.round_robin import RoundRobinPolicy
from scheduler.settings import SchedulerSettings

POLICY = RoundRobinPolicy(SchedulerSettings())


def test_whose_turn_is_over_gives_way_to_who_waited_longest(snapshot_of) -> None:
    snapshot = snapshot_of(
        [{"since_s": 1.0}, {"since_s": 3.0}, {"since_s": 4.0}],
        [{"age_s": 1.0}, {"age_s": 9.0, "preemptions": 1}, {"age_s": 2.0}],
    )
    plan = POLICY.plan(snapshot)
    assert plan.admit.tolist() == [1, 2]
    assert plan.preempt.tolist() == [2, 1]
    assert plan.keep.tolist() == [0]


def test_no_turn_ends_within_its_quantum(snapshot_of) -> None:
    plan = POLICY.plan(snapshot_of([{"since_s": 1.9}] * 3, [{"age_s": 30.0}]))
    assert plan.preempt.size == 0
    assert plan.admit.size == 0


def test_a_turn_goes_on_while_who_waits_fits_beside_it(snapshot_of) -> None:
    running = [{"since_s": 9.0}, {"since_s": 8.0}]
    plan = POLICY.plan(snapshot_of(running, [{}, {}], free_blocks=7))
    assert plan.admit.tolist() == [0, 1]
    assert plan.preempt.tolist() == [0]


def test_a_large_stream_is_not_overtaken_by_small_ones(snapshot_of) -> None:
    running = [{"since_s": 3.0}, {"since_s": 1.0}]
    waiting = [{"age_s": 9.0, "prompt_tokens": 120}, {"age_s": 1.0, "prompt_tokens": 1}]
    plan = POLICY.plan(snapshot_of(running, waiting))
    assert plan.admit.size == 0
    assert plan.preempt.size == 0


def test_the_engine_evicts_the_longest_turn(snapshot_of) -> None:
    running = [{"since_s": 1.0}, {"since_s": 0.5}, {"since_s": 1.5}]
    assert POLICY.plan(snapshot_of(running)).keep.tolist() == [1, 0, 2]


def test_everybody_has_a_turn_before_anybody_is_done(
    make_engine, burst, monkeypatch
) -> None:
    monkeypatch.setattr(round_robin, "QUANTUM_S", 0.5)
    engine = make_engine(policy=POLICY)
    engine.run(burst(8, input_tokens=60, output_tokens=150))
    first_s, last_s = (
        np.array([times[i] for times in engine.delivered_at_s.values()]) for i in (0, -1)
    )
    assert first_s.max() < last_s.min()
