import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policy import plan, under_pressure
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Snapshot

SETTINGS = SchedulerSettings()


def snapshot_of(num_running: int, **columns) -> Snapshot:
    """A snapshot whose unnamed columns are unremarkable: 10 free blocks, nobody urgent."""
    size = len(columns["gain"])
    defaults = {
        "slack_s": np.full(size, 5.0),
        "is_urgent": np.zeros(size, dtype=bool),
        "is_overdue": np.zeros(size, dtype=bool),
        "blocks": np.full(size, 4),
        "blocks_held": np.where(np.arange(size) < num_running, 4, 0),
        "resume_s": np.full(size, 0.1),
        "may_preempt": np.arange(size) < num_running,
        "free_blocks": 0,
        "max_running": 100,
        "harm_per_s": 0.0,
    }
    given_columns = {
        name: np.asarray(value) if isinstance(value, list) else value
        for name, value in columns.items()
    }
    return Snapshot(num_running=num_running, **{**defaults, **given_columns})


@st.composite
def snapshots(draw) -> Snapshot:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    running, waiting = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    size = running + waiting
    held = np.where(np.arange(size) < running, rng.integers(1, 9, size), 0)
    is_running = np.arange(size) < running
    return Snapshot(
        num_running=running,
        gain=rng.random(size).round(2),
        slack_s=rng.uniform(-20, 20, size),
        is_urgent=rng.random(size) < 0.6,
        is_overdue=~is_running & (rng.random(size) < 0.2),
        blocks=np.where(
            is_running, held + rng.integers(0, 2, size), rng.integers(1, 9, size)
        ),
        blocks_held=held,
        resume_s=rng.random(size) / 10,
        may_preempt=is_running & (rng.random(size) < 0.7),
        free_blocks=int(rng.integers(0, 20)),
        max_running=running + int(rng.integers(0, 6)),
        harm_per_s=float(rng.random()),
    )


@given(snapshots())
def test_every_running_stream_is_kept_or_preempted_once(snapshot) -> None:
    decided = plan(snapshot, SETTINGS)
    named = sorted([*decided.keep, *decided.preempt])
    assert named == list(range(snapshot.num_running))


@given(snapshots())
def test_what_is_admitted_fits_in_what_is_free_and_given_up(snapshot) -> None:
    decided = plan(snapshot, SETTINGS)
    admitted = decided.admit + snapshot.num_running
    freed = snapshot.blocks_held[decided.preempt].sum()
    assert len(set(admitted)) == len(admitted)
    assert len(decided.keep) + len(admitted) <= max(snapshot.max_running, len(decided.keep))
    if admitted.size:
        assert snapshot.blocks[admitted].sum() <= snapshot.free_blocks + freed


@given(snapshots())
def test_only_streams_with_slack_and_leave_are_preempted(snapshot) -> None:
    victims = plan(snapshot, SETTINGS).preempt
    assert snapshot.may_preempt[victims].all()
    assert (snapshot.slack_s[victims] >= SETTINGS.min_victim_slack_s).all()


@given(snapshots())
def test_nobody_is_preempted_for_nothing(snapshot) -> None:
    decided = plan(snapshot, SETTINGS)
    if decided.preempt.size:
        admitted = decided.admit + snapshot.num_running
        assert (snapshot.is_urgent[admitted]).any()


@given(snapshots())
def test_the_same_snapshot_gives_the_same_plan_and_stays_as_it_was(snapshot) -> None:
    before = {
        f.name: np.copy(getattr(snapshot, f.name)) for f in dataclasses.fields(snapshot)
    }
    first, second = plan(snapshot, SETTINGS), plan(snapshot, SETTINGS)
    for name in ("admit", "preempt", "keep"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    for name, value in before.items():
        assert np.array_equal(getattr(snapshot, name), value)


def test_an_urgent_stream_displaces_one_with_a_buffer() -> None:
    decided = plan(
        snapshot_of(
            2,
            gain=[0.0, 0.6, 0.9],
            slack_s=[9.0, 0.0, 0.1],
            is_urgent=np.array([False, True, True]),
        ),
        SETTINGS,
    )
    assert decided.preempt.tolist() == [0]
    assert decided.admit.tolist() == [0]
    assert decided.keep.tolist() == [1]


def test_a_stream_that_can_wait_displaces_nobody() -> None:
    decided = plan(snapshot_of(1, gain=[0.0, 0.9]), SETTINGS)
    assert decided.preempt.size == 0
    assert decided.admit.size == 0


def test_a_stream_that_can_wait_still_gets_idle_memory() -> None:
    decided = plan(snapshot_of(1, gain=[0.0, 0.9], free_blocks=4), SETTINGS)
    assert decided.admit.tolist() == [0]
    assert decided.preempt.size == 0


def test_a_resume_that_costs_the_others_more_than_it_gains_does_not_happen() -> None:
    urgent = np.array([False, True])
    dear = snapshot_of(1, gain=[0.0, 0.5], is_urgent=urgent, harm_per_s=6.0)
    cheap = snapshot_of(1, gain=[0.0, 0.5], is_urgent=urgent, harm_per_s=4.0)
    assert plan(dear, SETTINGS).preempt.size == 0
    assert plan(cheap, SETTINGS).preempt.tolist() == [0]


def test_the_smallest_sufficient_victim_is_given_up() -> None:
    decided = plan(
        snapshot_of(
            3,
            gain=[0.0, 0.0, 0.0, 0.9],
            is_urgent=np.array([False, False, False, True]),
            blocks=[9, 4, 1, 4],
            blocks_held=[9, 4, 1, 0],
            resume_s=[0.9, 0.4, 0.1, 0.4],
            harm_per_s=0.1,
        ),
        SETTINGS,
    )
    assert decided.preempt.tolist() == [1]


def test_a_stream_kept_too_long_is_served_whatever_its_gain() -> None:
    decided = plan(
        snapshot_of(
            1,
            gain=[0.4, 0.0, 0.9],
            slack_s=[5.0, -30.0, 0.0],
            is_urgent=np.array([False, True, True]),
            is_overdue=np.array([False, True, False]),
        ),
        SETTINGS,
    )
    assert decided.admit.tolist() == [0]
    assert decided.preempt.tolist() == [0]


def test_the_least_valuable_stream_is_last_where_the_engine_evicts() -> None:
    decided = plan(
        snapshot_of(3, gain=[0.1, 0.9, 0.5], slack_s=[9.0, 0.0, 1.0]),
        SETTINGS,
    )
    assert decided.keep.tolist() == [1, 2, 0]


def test_there_is_no_pressure_while_everybody_fits() -> None:
    assert not under_pressure(snapshot_of(1, gain=[0.0, 0.9], free_blocks=4))
    assert under_pressure(snapshot_of(1, gain=[0.0, 0.9], free_blocks=3))
    assert under_pressure(snapshot_of(1, gain=[0.0, 0.9], free_blocks=4, max_running=1))
