import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.value import Value
from scheduler.settings import SchedulerSettings

SETTINGS = SchedulerSettings(urgency_s=0.3)

BUFFERED = {"tokens": 60}  # 12 s of reading
LATE = {"age_s": 2.0}
HOPELESS = {"age_s": 60.0}  # nothing within the horizon makes up for it
STALLED = {"tokens": 1, "last_token_s": 3.0, "preemptions": 1}


def chosen(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()


def test_fresh_are_the_new_readers_who_are_about_to_notice_and_worth_a_promise(
    snapshot_of,
) -> None:
    early = {"age_s": 0.3}  # expects its first token in 0.7 s
    snapshot = snapshot_of([LATE], [LATE, early, STALLED, HOPELESS])
    value = Value(snapshot, SETTINGS)
    assert chosen(value.is_fresh) == [1]
    assert value.gain[4] < SETTINGS.min_gain <= value.gain[1]


def test_promised_are_the_readers_who_have_begun_and_wait_and_are_about_to_notice(
    snapshot_of,
) -> None:
    waiting = [STALLED, {**BUFFERED, "preemptions": 1}, LATE]
    value = Value(snapshot_of([{"tokens": 1, "last_token_s": 3.0}], waiting), SETTINGS)
    assert chosen(value.is_promised) == [1]


def test_a_slow_start_makes_a_reader_urgent_earlier(snapshot_of) -> None:
    waiting = {"age_s": 0.3}
    soon = snapshot_of([], [waiting])
    late = dataclasses.replace(soon, start_delay_s=np.array([0.5]))
    assert not Value(soon, SETTINGS).is_urgent[0]
    assert Value(late, SETTINGS).is_urgent[0]


def test_overdue_are_those_who_wait_and_are_later_than_max_late_s(snapshot_of) -> None:
    snapshot = snapshot_of(
        [{"age_s": 30.0}], [{"age_s": 11.5}, {"age_s": 10.5}, {"age_s": 30.0}]
    )
    value = Value(snapshot, SETTINGS)
    assert chosen(value.is_overdue) == [1, 3]


def test_victims_have_memory_to_give_a_buffer_a_residency_and_preemptions_left(
    snapshot_of,
) -> None:
    often = SETTINGS.max_preemptions
    running = [
        BUFFERED,
        {"tokens": 20},  # 4 s of reading
        {**BUFFERED, "since_s": 0.9},
        {**BUFFERED, "preemptions": often},
        BUFFERED,  # in flight
        {**BUFFERED, "since_s": 1.1, "preemptions": often - 1},
    ]
    can_free = [True, True, True, True, False, True]
    snapshot = snapshot_of(running, [BUFFERED], can_free=can_free)
    assert chosen(Value(snapshot, SETTINGS).is_victim) == [0, 5]


@given(seed=st.integers(0, 2**32))
def test_giving_a_stream_up_loses_at_least_what_serving_it_gains(
    random_snapshot, seed
) -> None:
    snapshot = random_snapshot(seed)
    value = Value(snapshot, SETTINGS)
    assert (value.loss >= value.gain).all()
    free = dataclasses.replace(snapshot, resume_s=np.zeros(snapshot.size))
    assert np.array_equal(Value(free, SETTINGS).loss, value.gain)


def test_a_rebuild_costs_everybody_who_would_be_later_for_it(snapshot_of) -> None:
    alone = Value(snapshot_of([BUFFERED], []), SETTINGS)
    among = Value(snapshot_of([BUFFERED], [LATE, LATE]), SETTINGS)
    assert alone.gain[0] == among.gain[0]
    assert alone.loss[0] == alone.gain[0]
    assert among.loss[0] > among.gain[0]


def test_the_best_come_first_by_gain_per_block_then_by_least_slack(snapshot_of) -> None:
    large = {**LATE, "prompt_tokens": 640}
    waiting = [{**BUFFERED, "preemptions": 1}, {"tokens": 50, "preemptions": 1}]
    snapshot = snapshot_of([large, LATE], waiting)
    assert Value(snapshot, SETTINGS).order.tolist() == [1, 0, 3, 2]


def test_spare_is_the_promised_share_of_the_rate_less_what_readers_take(
    snapshot_of,
) -> None:
    running, waiting = [{"tokens": 1}, {"tokens": 0}], [STALLED, LATE]
    snapshot = snapshot_of(running, waiting, tokens_per_s=100.0)
    # All but the last are promises: two run, one has begun.
    assert Value(snapshot, SETTINGS).spare_tokens_per_s == 0.9 * 100.0 - 3 * 5.0
