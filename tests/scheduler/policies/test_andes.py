import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies import AndesPolicy
from scheduler.settings import SchedulerSettings

SETTINGS = SchedulerSettings()
POLICY = AndesPolicy(SETTINGS)

BUFFERED = {"tokens": 120, "prompt_tokens": 4}  # 24 s of reading
LATE = {"age_s": 2.0}


@given(seed=st.integers(0, 2**32))
def test_only_streams_with_a_buffer_and_a_residency_are_preempted(
    random_snapshot, seed
) -> None:
    snapshot = random_snapshot(seed)
    plan = POLICY.plan(snapshot)
    if plan is not None:
        victims = plan.preempt
        assert (snapshot.slack_s[victims] >= SETTINGS.min_victim_slack_s).all()
        assert (snapshot.since_s[victims] >= SETTINGS.min_residency_s).all()
        is_capped = snapshot.preemptions[victims] >= SETTINGS.max_preemptions
        assert not (is_capped & ~snapshot.is_away[victims]).any()


@given(seed=st.integers(0, 2**32))
def test_nobody_is_preempted_for_nothing(random_snapshot, seed) -> None:
    plan = POLICY.plan(random_snapshot(seed))
    if plan is not None and plan.preempt.size:
        assert plan.admit.size


def test_a_reader_about_to_notice_displaces_one_with_a_buffer(snapshot_of) -> None:
    plan = POLICY.plan(snapshot_of([BUFFERED, {"tokens": 1}], [LATE]))
    assert plan.preempt.tolist() == [0]
    assert plan.admit.tolist() == [0]
    assert plan.keep.tolist() == [1]


def test_nobody_without_a_buffer_is_displaced(snapshot_of) -> None:
    plan = POLICY.plan(snapshot_of([{"tokens": 1}, {"tokens": 5}], [LATE]))
    assert plan.preempt.size == 0
    assert plan.admit.size == 0


def test_the_readers_with_most_buffer_are_last_where_the_engine_evicts(
    snapshot_of,
) -> None:
    running = [BUFFERED, {"tokens": 1}, {"tokens": 15}]
    keep = POLICY.plan(snapshot_of(running)).keep
    assert keep[-1] == 0
    assert np.flatnonzero(keep == 1) < np.flatnonzero(keep == 2)


def test_nobody_else_comes_in_before_a_reader_who_has_stalled_too_long(
    snapshot_of,
) -> None:
    stalled = {"tokens": 1, "last_token_s": 3.0, "preemptions": 1, "prompt_tokens": 200}
    alone = POLICY.plan(snapshot_of([{"tokens": 1}], [LATE], free_blocks=4))
    beside = POLICY.plan(snapshot_of([{"tokens": 1}], [LATE, stalled], free_blocks=4))
    assert alone.admit.tolist() == [0]
    assert beside.admit.size == 0


def test_a_short_token_budget_goes_to_promises_first(snapshot_of) -> None:
    stalled = {"tokens": 1, "last_token_s": 1.5, "preemptions": 1}
    admit = POLICY.plan(snapshot_of([], [LATE, stalled, LATE], free_blocks=9)).admit
    assert admit[0] == 1
