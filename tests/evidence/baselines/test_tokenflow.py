import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.baselines.tokenflow import SLICE_S, TokenFlowPolicy
from scheduler.settings import SchedulerSettings

POLICY = TokenFlowPolicy(SchedulerSettings())
FAR_AHEAD = {"tokens": 60}  # 12 s of reading
NEW = {"age_s": 0.2}


def test_a_newcomer_takes_the_memory_of_the_largest_buffer(snapshot_of) -> None:
    running = [{"tokens": 30}, FAR_AHEAD, {"tokens": 45}]
    plan = POLICY.plan(snapshot_of(running, [{**NEW, "prompt_tokens": 100}]))
    assert plan.admit.tolist() == [0]
    assert plan.preempt.tolist() == [1]
    assert plan.keep.tolist() == [0, 2]


def test_buffers_are_compared_in_tokens_and_the_faster_reader_goes_first(
    snapshot_of,
) -> None:
    waiting = [{**NEW, "tds": 4.0}, {**NEW, "tds": 6.0}]
    plan = POLICY.plan(snapshot_of([{}], waiting, free_blocks=4))
    assert plan.admit.tolist() == [1]
    # 10 s at 2 tokens/s are fewer tokens than 6 s at 8 tokens/s.
    slow, fast = {"tokens": 20, "tds": 2.0}, {"tokens": 48, "tds": 8.0}
    plan = POLICY.plan(snapshot_of([slow, fast], [NEW]))
    assert plan.preempt.tolist() == [1]


@pytest.mark.parametrize(
    ("resume_s", "preempted"),
    [pytest.param(11.4, [0], id="lasts"), pytest.param(11.6, [], id="runs dry")],
)
def test_a_buffer_must_outlast_the_slice_and_the_way_back(
    snapshot_of, resume_s, preempted
) -> None:
    """Of 12 s, half a second is the slice."""
    snapshot = snapshot_of([FAR_AHEAD], [NEW], resume_s=np.full(2, resume_s))
    assert POLICY.plan(snapshot).preempt.tolist() == preempted


def test_with_offload_the_way_back_is_the_transfer(snapshot_of) -> None:
    for transfer_s_per_token, preempted in ((0.09, [0]), (0.1, [])):
        settings = SchedulerSettings(
            resume="offload", transfer_s_per_token=transfer_s_per_token
        )
        # 124 tokens of context.
        snapshot = snapshot_of([FAR_AHEAD], [NEW], settings=settings)
        assert TokenFlowPolicy(settings).plan(snapshot).preempt.tolist() == preempted


def test_a_conservative_one_asks_for_more_buffer(snapshot_of) -> None:
    class Conservative(TokenFlowPolicy):
        conservativeness = 20.0

    snapshot = snapshot_of([FAR_AHEAD], [NEW], resume_s=np.full(2, 0.15))
    assert POLICY.plan(snapshot).preempt.size == 1
    assert Conservative(SchedulerSettings()).plan(snapshot).preempt.size == 0


def test_who_ran_dry_comes_back_before_a_newcomer(snapshot_of) -> None:
    dry = {"tokens": 2, "last_token_s": 3.0, "preemptions": 1, "prompt_tokens": 62}
    plan = POLICY.plan(snapshot_of([{"tokens": 1}], [NEW, dry], free_blocks=4))
    assert plan.admit.tolist() == [1]


@given(seed=st.integers(0, 2**32))
def test_only_who_had_its_slice_and_a_buffer_gives_way(random_snapshot, seed) -> None:
    snapshot = random_snapshot(seed)
    plan = POLICY.plan(snapshot)
    if plan is not None:
        gone = plan.preempt
        assert (snapshot.since_s[gone] >= SLICE_S).all()
        assert snapshot.started[gone].all()
        assert (snapshot.slack_s[gone] >= SLICE_S + snapshot.resume_s[gone]).all()


def test_newcomers_come_in_as_far_as_the_engine_carries_them(snapshot_of) -> None:
    """Two of 5 tokens/s are in; a third makes 15, a fourth 20."""
    snapshot = snapshot_of([FAR_AHEAD] * 2, [NEW] * 2)
    for tokens_per_s, admitted in ((20.0, 2), (19.0, 1), (14.0, 0)):
        carried = dataclasses.replace(snapshot, tokens_per_s=tokens_per_s)
        assert POLICY.plan(carried).admit.size == admitted


def test_beyond_what_the_engine_carries_nobody_leaves_and_nobody_new_comes(
    snapshot_of,
) -> None:
    offloaded = {"tokens": 2, "preemptions": 1, "prompt_tokens": 62}
    waiting = [
        NEW,
        {**offloaded, "since_s": 2.0},
        {**offloaded, "since_s": 4.0, "last_token_s": 0.1},
    ]
    snapshot = snapshot_of([FAR_AHEAD, {"tokens": 1}], waiting, free_blocks=4)
    plan = POLICY.plan(dataclasses.replace(snapshot, tokens_per_s=19.0))
    assert plan.preempt.size == 0
    assert plan.admit.tolist() == [2]
    assert plan.keep.tolist() == [0, 1]
    # With 20 tokens/s the four of the working set are carried, and memory rotates.
    assert POLICY.plan(dataclasses.replace(snapshot, tokens_per_s=20.0)).preempt.size == 1


def test_readers_start_sooner_than_in_order_of_arrival(make_engine, burst) -> None:
    engines = [make_engine(policy=POLICY), make_engine(settings={"policy": "fcfs"})]
    for engine in engines:
        engine.run(burst(30))
    ours_s, fcfs_s = ([t[0] for t in e.delivered_at_s.values()] for e in engines)
    assert np.mean(ours_s) < np.mean(fcfs_s)
    assert engines[0].scheduler.streams.preemptions_total > 0
