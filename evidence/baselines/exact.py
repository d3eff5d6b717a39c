"""The knapsack solved exactly, to measure the greedy against. Pure numpy."""

from __future__ import annotations

import numpy as np

from scheduler.snapshot import Bools, Floats, Ints

# One byte per stream, count and block: what a test or an ablation may take.
MAX_TABLE_CELLS = 300_000_000


def solve(values: Floats, weights: Ints, capacity: int, max_items: int) -> Bools:
    """The subset of greatest value: the paper's dynamic program, O(n · items · capacity).

    Where no more than `max_items` streams fit anyway, their count need not be kept, and it
    takes O(n · capacity).

    Args:
        values: Worth of each stream, >= 0, shape (n,).
        weights: KV blocks of each stream, >= 1.
        capacity: Blocks to share.
        max_items: Most streams to take.

    Raises:
        ValueError: The table would be larger than `MAX_TABLE_CELLS`.
    """
    none: Bools = np.zeros(values.size, dtype=np.bool_)
    if capacity < 1 or max_items < 1 or not values.size:
        return none
    capacity = min(capacity, int(weights.sum()))
    most_that_fit = int(np.searchsorted(np.cumsum(np.sort(weights)), capacity, "right"))
    counted = most_that_fit > max_items
    shape = (values.size, max_items + 1 if counted else 1, capacity + 1)
    if np.prod(shape, dtype=np.float64) > MAX_TABLE_CELLS:
        raise ValueError(f"an exact plan of {shape} cells is too large")
    takes = _takes(values, weights, shape)
    return _walk_back(takes, weights, counted)


def _takes(values: Floats, weights: Ints, shape: tuple[int, int, int]) -> Bools:
    """Whether stream i belongs to the best of the streams up to i, by count and room."""
    takes: Bools = np.zeros(shape, dtype=np.bool_)
    best = np.zeros(shape[1:])
    step = int(shape[1] > 1)
    for i, (value, weight) in enumerate(zip(values, weights, strict=True)):
        if weight >= shape[2]:
            continue
        without = best[step:, weight:]
        with_it = best[: shape[1] - step, : shape[2] - weight] + value
        takes[i, step:, weight:] = with_it > without
        best[step:, weight:] = np.maximum(with_it, without)
    return takes


def _walk_back(takes: Bools, weights: Ints, counted: bool) -> Bools:
    chosen: Bools = np.zeros(weights.size, dtype=np.bool_)
    items, room = takes.shape[1] - 1, takes.shape[2] - 1
    for i in range(weights.size - 1, -1, -1):
        if takes[i, items, room]:
            chosen[i] = True
            items -= int(counted)
            room -= int(weights[i])
    return chosen
