"""What holds for each policy, whatever it thinks of the streams."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import PlannedStream
from qoe import Expectation
from scheduler.policies import policy_for
from scheduler.settings import SchedulerSettings

PAPER = "evidence.baselines.paper"
POLICIES = {
    "andes": {"policy": "andes"},
    "andes-paper": {"policy": f"{PAPER}:PaperPolicy"},
    "long horizon": {"policy": f"{PAPER}:PaperLongHorizon"},
    "no refiner": {"policy": f"{PAPER}:PaperWithoutRefiner"},
    "exact": {"policy": f"{PAPER}:PaperExact"},
    "first version": {"policy": f"{PAPER}:PaperFirstVersion"},
    "lqsf": {"policy": "evidence.baselines.lqsf:LqsfPolicy"},
    "shortest-prompt": {
        "policy": "evidence.baselines.shortest_prompt:ShortestPromptPolicy"
    },
    "tokenflow": {"policy": "evidence.baselines.tokenflow:TokenFlowPolicy"},
    "round-robin": {"policy": "evidence.baselines.round_robin:RoundRobinPolicy"},
}
every_policy = pytest.mark.parametrize("options", POLICIES.values(), ids=POLICIES)
seeds = st.integers(0, 2**32)


def decided(options, snapshot):
    return policy_for(SchedulerSettings(**options)).plan(snapshot)


@every_policy
@given(seed=seeds)
def test_every_running_stream_is_kept_or_preempted_once(
    random_snapshot, options, seed
) -> None:
    snapshot = random_snapshot(seed)
    plan = decided(options, snapshot)
    if plan is not None:
        named = sorted([*plan.keep, *plan.preempt])
        assert named == list(range(snapshot.num_running))


@every_policy
@given(seed=seeds)
def test_what_is_admitted_fits_in_what_is_free_and_given_up(
    random_snapshot, options, seed
) -> None:
    snapshot = random_snapshot(seed)
    plan = decided(options, snapshot)
    if plan is not None and plan.admit.size:
        admitted = plan.admit + snapshot.num_running
        freed = snapshot.blocks_held[plan.preempt].sum()
        assert len(set(admitted)) == len(admitted)
        assert admitted.max() < snapshot.size
        assert snapshot.blocks[admitted].sum() <= snapshot.free_blocks + freed
        assert len(plan.keep) + len(admitted) <= snapshot.max_running


@every_policy
@given(seed=seeds)
def test_nobody_leaves_whose_blocks_would_not_be_free(
    random_snapshot, options, seed
) -> None:
    snapshot = random_snapshot(seed)
    plan = decided(options, snapshot)
    if plan is not None:
        assert snapshot.can_free[plan.preempt].all()


@every_policy
@given(seed=seeds)
def test_the_same_snapshot_gives_the_same_plan_and_stays_as_it_was(
    random_snapshot, options, seed
) -> None:
    snapshot, untouched = random_snapshot(seed), random_snapshot(seed)
    first, second = decided(options, snapshot), decided(options, snapshot)
    assert (first is None) == (second is None)
    if first is not None:
        for name in ("admit", "preempt", "keep"):
            assert np.array_equal(getattr(first, name), getattr(second, name))
    for field in dataclasses.fields(snapshot):
        before, after = (getattr(s, field.name) for s in (untouched, snapshot))
        if isinstance(before, np.ndarray):
            assert np.array_equal(before, after, equal_nan=True), field.name


@every_policy
@pytest.mark.parametrize("num_running", [0, 3])
def test_with_room_for_everybody_vllm_decides(snapshot_of, options, num_running) -> None:
    running = [{"tokens": 20}] * num_running
    assert decided(options, snapshot_of(running, [{}, {}], free_blocks=999)) is None


@every_policy
def test_an_engine_without_streams_is_no_special_case(snapshot_of, options) -> None:
    assert decided(options, snapshot_of([], [], free_blocks=9)) is None


@every_policy
def test_a_bursty_load_on_scarce_memory_ends_with_nothing_left(
    make_engine, burst, options
) -> None:
    engine = make_engine(settings=options)
    giant = PlannedStream(0.2, 440, 60, Expectation(1.0, 5.0))
    streams = [giant, *burst(40, output_tokens=60)]
    engine.run(streams)
    assert [len(engine.delivered_at_s[str(i)]) for i in range(41)] == [60] * 41
    assert engine.scheduler.plan_failures_total == 0


@every_policy
def test_a_light_load_is_served_exactly_as_vllm_serves_it(
    make_engine, burst, options
) -> None:
    streams = burst(6, input_tokens=40, output_tokens=30)
    ours, vllm = (make_engine(256, settings=s) for s in (options, {"policy": "fcfs"}))
    ours.run(streams)
    vllm.run(streams)
    assert ours.delivered_at_s == vllm.delivered_at_s
    assert ours.scheduler.streams.preemptions_total == 0
