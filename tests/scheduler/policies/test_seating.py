import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.seating import Seating
from scheduler.policies.value import Value
from scheduler.settings import SchedulerSettings

SETTINGS = SchedulerSettings(
    min_residency_s=0.0, min_victim_slack_s=1.0, min_rebuild_slack_s=1.0
)

BUFFERED = {"tokens": 64}  # 12.8 s of reading, 8 blocks
LATE = {"age_s": 2.0}  # 4 blocks
# Begun and stalled; slack is a fifth of a second more than this.
STALLED_SHORT = {"tokens": 1, "last_token_s": 1.5, "preemptions": 1}
STALLED_LONG = {"tokens": 1, "last_token_s": 3.0, "preemptions": 1}

MAX_STALL_S = 2.0


def seating_of(snapshot) -> Seating:
    return Seating(Value(snapshot, SETTINGS))


def waiting_of(snapshot) -> np.ndarray:
    return np.arange(snapshot.num_running, snapshot.size)


@given(
    seed=st.integers(0, 2**32),
    calls=st.lists(st.sampled_from(["promise", "admit", "displace"]), max_size=6),
    rng=st.randoms(use_true_random=False),
)
def test_no_more_blocks_and_seats_are_given_away_than_there_are(
    random_snapshot, seed, calls, rng
) -> None:
    snapshot = random_snapshot(seed)
    seating = seating_of(snapshot)
    waiting = waiting_of(snapshot).tolist()
    for call in calls:
        asking = np.array(rng.sample(waiting, len(waiting)), dtype=int)
        if call == "promise":
            asking = asking[~seating.is_admitted[asking]]
            seating.keep_promises(asking, MAX_STALL_S)
        else:
            getattr(seating, call)(asking)
    came, left = seating.is_admitted, seating.is_preempted
    is_running = snapshot.is_running
    assert not (came & is_running).any()
    assert not (left & ~is_running).any()
    if came.any():
        # Those who stay keep what they hold and room to grow.
        stays = is_running & ~left
        needed = snapshot.blocks[came | stays].sum()
        held = snapshot.blocks_held[: snapshot.num_running].sum()
        assert needed <= snapshot.free_blocks + held
        assert (came | stays).sum() <= snapshot.max_running


def test_room_to_grow_is_not_given_away(snapshot_of) -> None:
    snapshot = snapshot_of(
        [{"tokens": 1}], [{}], free_blocks=7, settings=SchedulerSettings()
    )
    growth = snapshot.blocks[0] - snapshot.blocks_held[0]
    assert snapshot.blocks[1] <= 7 < snapshot.blocks[1] + growth
    seating = seating_of(snapshot)
    seating.admit(np.array([1]))
    assert not seating.is_admitted.any()


def test_one_victim_that_is_enough_goes_rather_than_two_that_cost_less(
    snapshot_of,
) -> None:
    small, large = {"tokens": 60, "prompt_tokens": 4}, {"tokens": 60, "prompt_tokens": 68}
    snapshot = snapshot_of(
        [small, small, large], [STALLED_LONG], resume_s=np.array([0.01, 0.01, 1.0, 0.0])
    )
    seating = seating_of(snapshot)
    assert snapshot.blocks.tolist() == [4, 4, 8, 5]
    assert seating.keep_promises(np.array([3]), MAX_STALL_S)
    assert seating.is_preempted.tolist() == [False, False, True, False]


def test_of_the_victims_that_are_enough_the_cheapest_goes(snapshot_of) -> None:
    snapshot = snapshot_of(
        [BUFFERED] * 3, [STALLED_LONG], resume_s=np.array([0.5, 0.1, 0.5, 0.0])
    )
    seating = seating_of(snapshot)
    seating.keep_promises(np.array([3]), MAX_STALL_S)
    assert np.flatnonzero(seating.is_preempted).tolist() == [1]


def test_where_no_victim_is_enough_those_that_cost_least_per_block_go(
    snapshot_of,
) -> None:
    small = {"tokens": 60, "prompt_tokens": 4}
    large = {"prompt_tokens": 127, **STALLED_LONG}
    snapshot = snapshot_of(
        [small] * 4, [large], resume_s=np.array([0.1, 0.2, 0.4, 0.3, 0.0])
    )
    assert snapshot.blocks.tolist() == [4, 4, 4, 4, 8]
    seating = seating_of(snapshot)
    seating.keep_promises(np.array([4]), MAX_STALL_S)
    assert np.flatnonzero(seating.is_preempted).tolist() == [0, 1]


def test_the_longer_a_victim_can_stay_away_the_less_it_costs(snapshot_of) -> None:
    longer = {"tokens": 64, "tds": 2.5}
    snapshot = snapshot_of(
        [BUFFERED, longer], [STALLED_LONG], resume_s=np.array([0.1, 0.15, 0.0])
    )
    assert snapshot.slack_s[1] > 1.5 * snapshot.slack_s[0]
    seating = seating_of(snapshot)
    seating.keep_promises(np.array([2]), MAX_STALL_S)
    assert np.flatnonzero(seating.is_preempted).tolist() == [1]


def test_a_buffer_too_short_for_a_rebuild_is_lent_to_promises_only(snapshot_of) -> None:
    settings = SETTINGS.model_copy(update={"min_rebuild_slack_s": 15.0})
    snapshot = snapshot_of([BUFFERED], [LATE, STALLED_LONG])
    for_new, for_promise = (Seating(Value(snapshot, settings)) for _ in range(2))
    for_new.displace(np.array([1]))
    assert not for_new.is_preempted.any()
    for_promise.keep_promises(np.array([2]), MAX_STALL_S)
    assert for_promise.is_preempted[0]
    free = Seating(
        Value(dataclasses.replace(snapshot, resume_s=np.zeros(snapshot.size)), settings)
    )
    free.displace(np.array([1]))
    assert free.is_preempted[0]


def test_a_full_house_costs_a_victim_even_where_blocks_are_free(snapshot_of) -> None:
    snapshot = snapshot_of([BUFFERED], [LATE], free_blocks=50, max_running=1)
    seating = seating_of(snapshot)
    seating.displace(np.array([1]))
    assert np.flatnonzero(seating.is_preempted).tolist() == [0]
    assert np.flatnonzero(seating.is_admitted).tolist() == [1]


def test_a_stream_displaces_only_victims_whose_loss_is_below_its_worth(
    snapshot_of,
) -> None:
    # 2 s of buffer: within the horizon its reader would notice.
    losing = {"tokens": 10}
    snapshot = snapshot_of([losing], [LATE, {"age_s": 30.0}])
    value = Value(snapshot, SETTINGS)
    assert value.is_victim[0]
    assert value.gain[2] < value.loss[0] < value.gain[1]
    poor, rich = Seating(value), Seating(value)
    poor.displace(np.array([2]))
    assert not poor.is_preempted.any()
    assert not poor.is_admitted.any()
    rich.displace(np.array([1]))
    assert rich.is_preempted[0]
    assert rich.is_admitted[1]


def test_worth_is_compared_with_what_all_victims_lose_together(snapshot_of) -> None:
    losing = {"tokens": 10, "prompt_tokens": 22}  # 2 blocks, 2 s of buffer
    snapshot = snapshot_of([losing, losing], [LATE])
    value = Value(snapshot, SETTINGS)
    gain = 1.5 * value.loss[0]
    value.gain = np.array([*value.loss[:2], gain])
    seating = Seating(value)
    seating.displace(np.array([2]))
    assert not seating.is_preempted.any()


def test_only_a_promise_may_cost_more_than_the_rebuild_budget(snapshot_of) -> None:
    snapshot = snapshot_of([BUFFERED], [LATE], rebuild_budget_s=1e-3)
    assert snapshot.resume_s[0] > 1e-3
    worth, promised = seating_of(snapshot), seating_of(snapshot)
    worth.displace(np.array([1]))
    assert not worth.is_preempted.any()
    assert promised.keep_promises(np.array([1]), MAX_STALL_S)
    assert promised.is_preempted[0]
    assert promised.is_admitted[1]


@pytest.mark.parametrize("first", ["displace", "keep_promises"])
def test_what_one_rebuild_costs_is_missing_for_the_next(snapshot_of, first) -> None:
    snapshot = snapshot_of([BUFFERED] * 2, [LATE] * 3, rebuild_budget_s=0.02)
    assert 0.01 < snapshot.resume_s[0] < 0.02
    seating = seating_of(snapshot)
    if first == "displace":
        seating.displace(np.array([2]))
    else:
        seating.keep_promises(np.array([2]), MAX_STALL_S)
    seating.admit(np.array([3]))  # the rest of the room
    seating.displace(np.array([4]))
    assert np.count_nonzero(seating.is_preempted) == 1
    assert np.flatnonzero(seating.is_admitted).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("stalled", "others_may"), [(STALLED_SHORT, True), (STALLED_LONG, False)]
)
def test_a_promise_without_room_stops_the_others_once_it_has_stalled_too_long(
    snapshot_of, stalled, others_may
) -> None:
    snapshot = snapshot_of([{"tokens": 1}], [stalled], free_blocks=2)
    assert (-snapshot.slack_s[1] > MAX_STALL_S) != others_may
    seating = seating_of(snapshot)
    assert seating.keep_promises(np.array([1]), MAX_STALL_S) == others_may
    assert not seating.is_admitted.any()


def test_a_promise_that_is_passed_over_leaves_its_room_to_the_next(snapshot_of) -> None:
    large = {"prompt_tokens": 200, **STALLED_SHORT}
    snapshot = snapshot_of([{"tokens": 1}], [large, STALLED_LONG], free_blocks=5)
    seating = seating_of(snapshot)
    assert seating.keep_promises(np.array([1, 2]), MAX_STALL_S)
    assert np.flatnonzero(seating.is_admitted).tolist() == [2]
