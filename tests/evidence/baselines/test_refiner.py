import numpy as np
import pytest

from evidence.baselines.refiner import Refiner
from evidence.baselines.room import Room

NOBODY = np.zeros(0, dtype=int)


def refiner(weights, gain, *, free_blocks=0, num_running, **options) -> Refiner:
    """The first `num_running` streams fill memory but for `free_blocks`."""
    weights = np.array(weights)
    blocks = int(weights[:num_running].sum()) + free_blocks
    return Refiner(
        room=Room(weights, num_running, blocks, options.pop("slots", 99)),
        gain=np.array(gain),
        overhead_s=options.pop("overhead_s", np.zeros(weights.size)),
        loss_per_s=options.pop("loss_per_s", 1.0),
        max_victims=options.pop("max_victims", np.inf),
    )


def refine(refined: Refiner, admissions, candidates) -> tuple[list[int], list[int]]:
    admissions = np.array(admissions)
    admitted, victims = refined.refine(admissions, np.array(candidates), admissions)
    return admitted.tolist(), victims.tolist()


@pytest.mark.parametrize(
    ("weight", "victims"),
    [
        pytest.param(3, [1], id="the smallest that is enough"),
        pytest.param(4, [1], id="one that is just enough"),
        pytest.param(6, [0], id="only the largest is enough"),
        pytest.param(12, [0, 1], id="the fewest that are enough together"),
        pytest.param(15, [], id="not even all are enough"),
    ],
)
def test_an_admission_takes_the_smallest_victim_set(weight, victims) -> None:
    three = refiner([9, 4, 1, weight], [0.0, 0.0, 0.0, 1.0], num_running=3)
    admitted, preempted = refine(three, [3], [0, 1, 2])
    assert preempted == victims
    assert admitted == ([3] if victims else [])


def test_who_fits_takes_no_victim() -> None:
    one = refiner([4, 4, 2], [0.0, 1.0, 0.9], num_running=1, free_blocks=6)
    assert refine(one, [1, 2], [0]) == ([1, 2], [])


def test_a_seat_is_worth_a_victim_too() -> None:
    one = refiner([4, 1], [0.0, 1.0], num_running=1, free_blocks=6, slots=1)
    assert refine(one, [1], [0]) == ([1], [0])


def test_a_batch_above_its_best_size_grows_by_nobody() -> None:
    two = refiner([4, 4, 1], [0.0, 0.0, 1.0], num_running=2, free_blocks=6, slots=1)
    assert refine(two, [2], [0]) == ([], [])
    assert refine(two, [2], [0, 1]) == ([2], [0, 1])


@pytest.mark.parametrize(
    ("loss_per_s", "preempted"), [pytest.param(1.8, [0]), pytest.param(2.2, [])]
)
def test_victims_and_overhead_are_paid_for_by_the_gain(loss_per_s, preempted) -> None:
    """It gains 0.5, its victim loses 0.1, and 0.2 s of overhead cost all the others."""
    swap = refiner(
        [4, 4],
        [0.1, 0.5],
        num_running=1,
        overhead_s=np.full(2, 0.2),
        loss_per_s=loss_per_s,
    )
    assert refine(swap, [1], [0])[1] == preempted


def test_the_first_swap_not_worth_it_ends_the_preemptions() -> None:
    three = refiner([4, 4, 9, 4], [0.6, 0.6, 1.0, 0.9], num_running=2)
    assert refine(three, [2, 3], [0, 1]) == ([], [])


def test_no_more_victims_than_allowed() -> None:
    four = refiner([4] * 4, [0.0, 0.0, 1.0, 0.9], num_running=2, max_victims=1)
    assert refine(four, [2, 3], [0, 1]) == ([2], [1])


def test_without_candidates_what_is_free_is_given_away() -> None:
    none = refiner([4, 6, 2], [0.0, 1.0, 0.9], num_running=1, free_blocks=3)
    assert refine(none, [1, 2], NOBODY) == ([2], [])
