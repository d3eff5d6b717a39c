"""The greedy against the optimum, on small instances, by brute force over all subsets."""

import numpy as np
import pytest

from evidence.baselines.exact import solve
from scheduler.policies.packing import pack

MAX_STREAMS = 12
SUBSETS = (np.arange(2**MAX_STREAMS)[:, None] >> np.arange(MAX_STREAMS) & 1).astype(float)
SIZES = SUBSETS.sum(axis=1)


def instances(count: int, seed: int):
    """Gains, blocks and capacities; each stream would fit alone, not all fit together."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size = int(rng.integers(2, MAX_STREAMS + 1))
        weights = rng.integers(1, 40, size)
        capacity = int(max(weights.max(), rng.uniform(0.2, 0.8) * weights.sum()))
        yield rng.random(size), weights, capacity


def best_value(values, weights, capacity, max_items) -> float:
    padding = (0, MAX_STREAMS - values.size)
    fits = SUBSETS @ np.pad(weights, padding) <= capacity
    return float((SUBSETS @ np.pad(values, padding))[fits & (max_items >= SIZES)].max())


def test_greedy_by_gain_per_block_is_close_to_the_optimum_and_never_far() -> None:
    ratios, worst = [], []
    for values, weights, capacity in instances(2000, seed=1):
        best = best_value(values, weights, capacity, MAX_STREAMS)
        greedy = values[pack(np.argsort(-values / weights), weights, capacity, 99)].sum()
        ratios.append(greedy / best)
        worst.append(max(greedy, values.max()) / best)
    assert np.mean(ratios) >= 0.97
    assert min(worst) >= 0.5


def test_the_exact_solver_finds_the_optimum_within_its_limits() -> None:
    rng = np.random.default_rng(2)
    for values, weights, capacity in instances(400, seed=2):
        max_items = int(rng.integers(0, values.size + 2))
        chosen = solve(values, weights, capacity, max_items)
        assert weights[chosen].sum() <= capacity
        assert chosen.sum() <= max_items
        best = best_value(values, weights, capacity, max_items)
        assert values[chosen].sum() == pytest.approx(best)


@pytest.mark.parametrize("capacity", [-3, 0])
def test_nothing_fits_into_no_room(capacity) -> None:
    assert not solve(np.ones(3), np.ones(3, dtype=int), capacity, 9).any()


def test_an_instance_too_large_is_refused() -> None:
    values, weights = np.ones(1000), np.full(1000, 1000)
    with pytest.raises(ValueError, match="too large"):
        solve(values, weights, capacity=500_000, max_items=100)
