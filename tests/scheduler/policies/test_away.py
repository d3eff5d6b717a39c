"""A reader who is away: the first to give way, the last to be let in, and not forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler.policies.andes import AndesPolicy
from scheduler.settings import SchedulerSettings

SETTINGS = SchedulerSettings(min_residency_s=0.0)
FAR_AHEAD = {"tokens": 400}
# Its buffer is empty: whoever is there would notice at once.
JUST_LEFT = {"tokens": 5, "away": True}
NEW = {"age_s": 0.5}


@pytest.mark.parametrize(
    "running",
    [
        pytest.param(JUST_LEFT, id="with-an-empty-buffer"),
        pytest.param({**JUST_LEFT, "preemptions": 50}, id="for-the-51st-time"),
        pytest.param({"away": True}, id="before-its-first-token"),
    ],
)
@pytest.mark.parametrize("budget_s", [1.0, 0.0])
def test_who_is_away_leaves_before_those_who_are_far_ahead(
    snapshot_of, running, budget_s
) -> None:
    snapshot = snapshot_of([FAR_AHEAD, running], [NEW], rebuild_budget_s=budget_s)
    plan = AndesPolicy(SETTINGS).plan(snapshot)
    assert plan is not None
    assert plan.preempt.tolist() == [1]
    assert plan.admit.tolist() == [0]


def test_two_who_are_away_leave_before_one_who_reads_and_would_do(snapshot_of) -> None:
    snapshot = snapshot_of(
        [FAR_AHEAD, JUST_LEFT, JUST_LEFT], [{**NEW, "prompt_tokens": 150}]
    )
    plan = AndesPolicy(SETTINGS).plan(snapshot)
    assert plan is not None
    assert plan.preempt.tolist() == [1, 2]


def test_who_is_away_is_not_enough_and_others_leave_as_well(snapshot_of) -> None:
    snapshot = snapshot_of([FAR_AHEAD, JUST_LEFT], [{**NEW, "prompt_tokens": 320}])
    plan = AndesPolicy(SETTINGS).plan(snapshot)
    assert plan is not None
    assert plan.admit.tolist() == [0]
    assert plan.preempt.size > 0


def test_nobody_leaves_for_one_who_is_away(snapshot_of) -> None:
    snapshot = snapshot_of([FAR_AHEAD], [{**JUST_LEFT, "preemptions": 1}])
    plan = AndesPolicy(SETTINGS).plan(snapshot)
    assert plan is not None
    assert plan.preempt.size == plan.admit.size == 0


@pytest.mark.parametrize(("free_blocks", "admitted"), [(4, [1]), (9, [0, 1])])
def test_who_is_away_comes_in_when_all_others_have(
    snapshot_of, free_blocks, admitted
) -> None:
    waiting = [{**JUST_LEFT, "preemptions": 1}, {"age_s": 0.5}]
    snapshot = snapshot_of([{"tokens": 2}], waiting, free_blocks=free_blocks)
    plan = AndesPolicy(SETTINGS).plan(snapshot)
    if plan is None:
        assert len(admitted) == 2
        return
    assert sorted(plan.admit.tolist()) == admitted


def test_nothing_is_promised_to_who_is_away(snapshot_of) -> None:
    """At 5 tokens/s there is room for one reader, and that one reads nothing."""
    for running, is_admitted in ((JUST_LEFT, True), ({"tokens": 5}, False)):
        snapshot = snapshot_of(
            [running], [{**NEW, "prompt_tokens": 50}], free_blocks=3, tokens_per_s=6.0
        )
        plan = AndesPolicy(SETTINGS).plan(snapshot)
        assert plan is not None
        assert bool(plan.preempt.size) == is_admitted


def test_who_is_away_gives_way_before_a_reader_with_a_buffer(snapshot_of) -> None:
    snapshot = snapshot_of([JUST_LEFT, {"tokens": 30}], [NEW])
    plan = AndesPolicy(SETTINGS).plan(snapshot)
    assert plan is not None
    assert plan.preempt.tolist() == [0]


def test_a_plan_with_everybody_away_is_a_plan(snapshot_of) -> None:
    away = {"tokens": 5, "away": True}
    snapshot = snapshot_of([away, away], [{**away, "preemptions": 1}, {"away": True}])
    plan = AndesPolicy(SETTINGS).plan(snapshot)
    assert plan is not None
    assert np.sort(plan.keep).tolist() == [0, 1]
