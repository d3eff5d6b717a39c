import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.packing import pack

weights_of = st.lists(st.integers(1, 20), max_size=12).map(lambda w: np.array(w, dtype=int))


@given(weights_of, st.integers(-5, 80), st.integers(0, 12), st.randoms())
def test_what_is_taken_fits_and_nothing_more_would(weights, capacity, slots, rng) -> None:
    order = np.array(rng.sample(range(weights.size), weights.size), dtype=int)
    taken = pack(order, weights, capacity, slots)
    left = capacity - weights[taken].sum()
    assert taken.sum() <= slots
    assert not taken.any() or left >= 0
    if taken.sum() < slots:
        assert (weights[~taken] > left).all()


@given(weights_of, st.integers(0, 80))
def test_a_misfit_is_skipped_and_never_costs_a_better_one(weights, capacity) -> None:
    taken = pack(np.arange(weights.size), weights, capacity, 99)
    left, expected = capacity, []
    for i, weight in enumerate(weights):
        if weight <= left:
            left -= weight
            expected.append(i)
    assert np.flatnonzero(taken).tolist() == expected
