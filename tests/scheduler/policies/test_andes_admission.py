"""What fits beside the running streams, and how many of them leave for it."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.andes import MAX_SWAPS, Admission, AndesPolicy
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Snapshot

POLICY = AndesPolicy(SchedulerSettings())
seeds = st.integers(0, 2**32)

LATE = {"age_s": 3.0}
FAR_AHEAD = {"tokens": 2000, "prompt_tokens": 48}


def admit_all(snapshot: Snapshot) -> list[int]:
    admission = Admission(snapshot)
    admission.admit(np.arange(snapshot.num_running, snapshot.size))
    return admission.admitted


def test_a_misfit_is_skipped_and_room_to_grow_is_kept(snapshot_of) -> None:
    waiting = [{"prompt_tokens": 200}, {}]
    assert admit_all(snapshot_of([{"tokens": 1}], waiting, free_blocks=5)) == [2]
    growing = snapshot_of([{"tokens": 1}], [{}], free_blocks=7, grows=True)
    growth = growing.blocks[0] - growing.blocks_held[0]
    assert growing.blocks[1] <= 7 < growing.blocks[1] + growth
    assert admit_all(growing) == []


def test_a_plan_swaps_in_only_so_many(snapshot_of) -> None:
    snapshot = snapshot_of([FAR_AHEAD] * 20, [{**LATE, "prompt_tokens": 16}] * 20)
    small = dataclasses.replace(
        snapshot,
        blocks=np.full(40, 1),
        blocks_held=np.repeat([1, 0], 20),
        resume_s=np.zeros(40),
    )
    plan = POLICY.plan(small)
    assert plan.admit.size == plan.preempt.size == MAX_SWAPS


@given(seed=seeds, rng=st.randoms(use_true_random=False))
def test_no_blocks_or_slots_are_given_away_twice(random_snapshot, seed, rng) -> None:
    snapshot = random_snapshot(seed)
    running = np.arange(snapshot.num_running)
    waiting = np.arange(snapshot.num_running, snapshot.size)
    admission = Admission(snapshot)
    some = rng.sample(waiting.tolist(), rng.randint(0, waiting.size))
    admission.admit(np.array(some, dtype=int))
    asking = np.array(rng.sample(waiting.tolist(), waiting.size), dtype=int)
    leaving = np.array(rng.sample(running.tolist(), running.size), dtype=int)
    admission.swap(asking, leaving)
    came, left = admission.admitted, admission.is_preempted
    assert len(set(came)) == len(came)
    if came:
        # Those who stay keep what they hold, and their room to grow.
        needed = snapshot.blocks[came].sum() + snapshot.blocks[running[~left]].sum()
        held = snapshot.blocks_held[running].sum()
        assert needed <= snapshot.free_blocks + held
        assert len(came) + int((~left).sum()) <= snapshot.max_running
    else:
        assert not left.any()


def swapped(admission: Admission, asking: list[int], leaving: list[int]) -> list[int]:
    """Slow reference: one victim after the other, until the stream fits or none is left."""
    snapshot, came, left = admission._snapshot, list(admission.admitted), 0
    blocks, slots = admission._blocks, admission._slots
    for stream in [s for s in asking if s not in came][:MAX_SWAPS]:
        if left >= len(leaving):
            break
        more, freed_blocks = 0, 0
        needed = int(snapshot.blocks[stream])
        while blocks + freed_blocks < needed or slots + more < 1:
            if left + more == len(leaving):
                break
            freed_blocks += int(snapshot.blocks[leaving[left + more]])
            more += 1
        else:
            left += more
            blocks += freed_blocks - needed
            slots += more - 1
            came.append(stream)
    return [*came, *leaving[:left]]


@given(seed=seeds, rng=st.randoms(use_true_random=False))
def test_as_few_of_the_victims_leave_as_each_who_comes_needs(
    random_snapshot, seed, rng
) -> None:
    snapshot = random_snapshot(seed)
    waiting = list(range(snapshot.num_running, snapshot.size))
    asking = rng.sample(waiting, len(waiting))
    leaving = rng.sample(range(snapshot.num_running), snapshot.num_running)
    admission = Admission(snapshot)
    admission.admit(np.array(asking[: rng.randint(0, len(asking))], dtype=int))
    expected = swapped(admission, asking, leaving)
    admission.swap(np.array(asking, dtype=int), np.array(leaving, dtype=int))
    gone = [stream for stream in leaving if admission.is_preempted[stream]]
    assert [*admission.admitted, *gone] == expected
