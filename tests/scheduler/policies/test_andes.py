"""Who comes in, who gives way, and for whom."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.andes import (
    MIN_LEAVE_S,
    NEW_URGENCY_S,
    URGENCY_S,
    AndesPolicy,
    Ranking,
)
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Snapshot, StepTime

SETTINGS = SchedulerSettings()
POLICY = AndesPolicy(SETTINGS)
seeds = st.integers(0, 2**32)

NEW = {"age_s": 0.5}  # expects its first token in half a second
LATE = {"age_s": 3.0}
JOB = {"age_s": 0.5, "ttft_s": 60.0}
STALLED = {"tokens": 1, "last_token_s": 3.0, "preemptions": 1}
AWAY = {"tokens": 5, "away": True}
# A buffer of 400 s, far more than any resume here takes.
FAR_AHEAD = {"tokens": 2000, "prompt_tokens": 48}


def begun(slack_s: float) -> dict[str, object]:
    """Waits for its memory with so much to read; 4 blocks."""
    tokens = int(5 * slack_s)
    return {"tokens": tokens, "prompt_tokens": 64 - tokens, "preemptions": 1}


def waiting_order(snapshot: Snapshot) -> list[int]:
    """Who waits, best first, counted among the waiting."""
    order = Ranking(snapshot, SETTINGS.max_throughput_loss).by_worth
    return (order - snapshot.num_running).tolist()


def urgent_order(snapshot: Snapshot) -> list[int]:
    order = Ranking(snapshot, SETTINGS.max_throughput_loss).urgent
    return (order - snapshot.num_running).tolist()


def victims(snapshot: Snapshot, loss: float = SETTINGS.max_throughput_loss) -> list[int]:
    return Ranking(snapshot, loss).victims.tolist()


# Who comes first.


def test_who_waits_is_in_time_then_late_then_has_time_then_away(snapshot_of) -> None:
    away = {**AWAY, "preemptions": 1}
    waiting = [away, JOB, LATE, STALLED, begun(5.0), NEW, begun(1.0)]
    order = waiting_order(snapshot_of([], waiting, free_blocks=100))
    groups = [sorted(order[:3]), order[3:4], sorted(order[4:6]), order[6:]]
    assert groups == [[3, 5, 6], [2], [1, 4], [0]]


@pytest.mark.parametrize(("more_s", "order"), [(-0.5, [1, 0]), (0.5, [0, 1])])
def test_a_first_token_is_nobodys_concern_until_it_is_expected_soon(
    snapshot_of, more_s, order
) -> None:
    job = {"age_s": 0.0, "ttft_s": NEW_URGENCY_S + more_s}
    assert waiting_order(snapshot_of([], [LATE, job], free_blocks=100)) == order


@pytest.mark.parametrize("row", [NEW, LATE], ids=["in time", "late"])
def test_a_short_prompt_comes_before_a_long_one(snapshot_of, row) -> None:
    waiting = [{**row, "prompt_tokens": tokens} for tokens in (400, 40, 160)]
    assert waiting_order(snapshot_of([], waiting, free_blocks=100)) == [1, 2, 0]


def test_of_equal_memory_the_shorter_prompt_comes_first(snapshot_of) -> None:
    snapshot = snapshot_of([], [NEW] * 3, free_blocks=100)
    prompts = np.array([64.0, 1.0, 30.0])
    cached = dataclasses.replace(snapshot, prefill_tokens=prompts)
    assert waiting_order(cached) == [1, 2, 0]


def test_of_equal_prompts_the_smaller_context_comes_first(snapshot_of) -> None:
    snapshot = snapshot_of([], [NEW] * 3, free_blocks=100)
    sized = dataclasses.replace(snapshot, blocks=np.array([40, 4, 20]))
    assert waiting_order(sized) == [1, 2, 0]


def test_a_reader_who_counts_for_more_comes_first(snapshot_of) -> None:
    snapshot = snapshot_of([], [NEW] * 3, free_blocks=100, weight=np.array([1.0, 3.0, 2.0]))
    assert waiting_order(snapshot) == [1, 2, 0]


def test_a_reader_whom_the_engine_keeps_up_with_comes_first(snapshot_of) -> None:
    # 50 tokens a second.
    waiting = [{**NEW, "tds": 200.0}, NEW]
    assert waiting_order(snapshot_of([], waiting, free_blocks=100)) == [1, 0]


def test_a_prompt_that_would_come_too_late_is_late(snapshot_of) -> None:
    long = {**NEW, "prompt_tokens": 6000}  # 0.6 s of prefill, and half a second left
    assert waiting_order(
        snapshot_of([], [long, {**NEW, "age_s": 0.9}], free_blocks=100)
    ) == [1, 0]


# Who may displace others, and whom.


def test_only_who_would_notice_soon_asks_others_to_leave(snapshot_of) -> None:
    soon, later = begun(URGENCY_S - 0.3), begun(URGENCY_S + 0.5)
    away = {**AWAY, "preemptions": 1}
    waiting = [later, soon, away, NEW]
    assert urgent_order(snapshot_of([], waiting, free_blocks=100)) == [3, 1]


def test_the_worthiest_asks_first_whoever_would_notice_first(snapshot_of) -> None:
    cheap, dear = {**NEW, "prompt_tokens": 16}, {**NEW, "prompt_tokens": 3000}
    waiting = [dear, begun(0.1), cheap]
    snapshot = snapshot_of([], waiting, free_blocks=100)
    ranking = Ranking(snapshot, SETTINGS.max_throughput_loss)
    order = ranking.urgent.tolist()
    assert sorted(order) == [0, 1, 2]
    assert order == sorted(order, key=lambda stream: -ranking.worth[stream])
    assert ranking.starts_in_s[order[0]] > ranking.starts_in_s.min()


def test_the_fullest_buffer_leaves_first(snapshot_of) -> None:
    running = [{**FAR_AHEAD, "tokens": tokens} for tokens in (2000, 3000, 1500)]
    assert victims(snapshot_of(running)) == [1, 0, 2]
    plan = POLICY.plan(snapshot_of(running, [LATE]))
    assert plan.preempt.tolist() == [1]
    assert plan.admit.tolist() == [0]


def test_who_is_away_leaves_before_everybody(snapshot_of) -> None:
    assert victims(snapshot_of([FAR_AHEAD, AWAY])) == [1, 0]


def test_nobody_without_slack_leaves(snapshot_of) -> None:
    snapshot = snapshot_of([{"tokens": 1}, {"tokens": 5}], [LATE])
    assert victims(snapshot, loss=10.0) == []
    plan = POLICY.plan(snapshot)
    assert plan.preempt.size == plan.admit.size == 0


def test_neither_who_prefills_nor_who_frees_nothing_leaves(snapshot_of) -> None:
    running = [FAR_AHEAD, {"away": True}, FAR_AHEAD]
    snapshot = snapshot_of(running, [LATE], can_free=[False, True, True])
    assert snapshot.is_prefilling[1]
    assert victims(snapshot) == [2]


def test_a_dearer_resume_needs_more_slack(snapshot_of) -> None:
    running = [{"tokens": int(5 * 2 * MIN_LEAVE_S)}] * 2
    snapshot = snapshot_of(running, resume_s=np.array([0.001, 1.0]))
    assert victims(snapshot) == [0]


@pytest.mark.parametrize(("more_s", "leaving"), [(-1.0, []), (1.0, [0])])
def test_nobody_leaves_for_less_than_min_leave_s_however_cheap_the_resume(
    snapshot_of, more_s, leaving
) -> None:
    running = [{"tokens": int(5 * (MIN_LEAVE_S + more_s))}]
    assert victims(snapshot_of(running, resume_s=np.zeros(1))) == leaving


@given(seed=seeds, losses=st.lists(st.floats(0.01, 10.0), min_size=2, max_size=2))
def test_who_may_be_lost_for_little_may_be_lost_for_more(
    random_snapshot, seed, losses
) -> None:
    snapshot = random_snapshot(seed)
    strict, lenient = (set(victims(snapshot, loss)) for loss in sorted(losses))
    assert strict <= lenient


@given(seed=seeds)
def test_whoever_leaves_has_min_leave_s_of_slack_and_makes_room_for_somebody(
    random_snapshot, seed
) -> None:
    snapshot = random_snapshot(seed)
    plan = POLICY.plan(snapshot)
    if plan is not None and plan.preempt.size:
        assert plan.admit.size
        assert (snapshot.slack_s[plan.preempt] >= MIN_LEAVE_S).all()
        assert not snapshot.is_prefilling[plan.preempt].any()


def test_nobody_leaves_for_one_who_is_away(snapshot_of) -> None:
    plan = POLICY.plan(snapshot_of([FAR_AHEAD], [{**AWAY, "preemptions": 1}]))
    assert plan.preempt.size == plan.admit.size == 0


# The plan as a whole.


def test_with_room_in_memory_and_in_the_step_vllm_decides(snapshot_of) -> None:
    roomy = snapshot_of([{"tokens": 20}], [NEW], free_blocks=99)
    assert POLICY.plan(roomy) is None
    assert POLICY.plan(dataclasses.replace(roomy, token_budget=64)) is not None
    slow = StepTime(0.02, 0.0, 0.01)
    hurried = snapshot_of(
        [{"tokens": 1}], [{"prompt_tokens": 600}], free_blocks=99, step_time=slow
    )
    assert POLICY.plan(hurried).token_budget is not None


def test_who_decodes_comes_before_who_prefills_and_the_fullest_buffer_is_last(
    snapshot_of,
) -> None:
    running = [FAR_AHEAD, {}, {"tokens": 1}, {"tokens": 15}]
    assert POLICY.plan(snapshot_of(running)).keep.tolist() == [2, 3, 0, 1]


def test_a_plan_with_everybody_away_is_a_plan(snapshot_of) -> None:
    snapshot = snapshot_of([AWAY, AWAY], [{**AWAY, "preemptions": 1}, {"away": True}])
    assert np.sort(POLICY.plan(snapshot).keep).tolist() == [0, 1]


@pytest.mark.parametrize(("free_blocks", "admitted"), [(4, [1]), (8, [0, 1])])
def test_who_is_away_comes_in_when_all_others_have(
    snapshot_of, free_blocks, admitted
) -> None:
    waiting = [{"tokens": 5, "prompt_tokens": 59, "away": True, "preemptions": 1}, NEW]
    snapshot = snapshot_of([{"tokens": 2}], waiting, free_blocks=free_blocks)
    plan = POLICY.plan(snapshot)
    if plan is None:
        assert len(admitted) == 2
    else:
        assert sorted(plan.admit.tolist()) == admitted
