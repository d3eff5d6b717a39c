"""Which streams fit: greedy by priority, skipping what does not fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Each round takes a prefix and steps over at least one stream that does not fit. What is
# left after this many is a thin tail of ever smaller streams.
MAX_ROUNDS = 32


def pack(order: Ints, weights: Ints, capacity: int, max_items: int) -> Bools:
    """Take streams in `order` while they fit; a misfit is skipped, not a full stop.

    Args:
        order: Indices into `weights`, best first, shape (n,).
        weights: KV blocks of each stream, >= 0.
        capacity: Blocks to share; nothing fits below 1.
        max_items: Most streams to take.

    Returns:
        Which streams were taken, by index into `weights`. Their weights sum to at most
        `capacity`; no skipped stream would still fit within the first `MAX_ROUNDS` misfits.
    """
    taken = np.zeros(weights.size, dtype=np.bool_)
    left, items_left = capacity, max_items
    rest = order
    for _ in range(MAX_ROUNDS):
        rest = rest[weights[rest] <= left]
        if rest.size == 0 or items_left <= 0:
            break
        used = np.cumsum(weights[rest])
        count = min(int(np.searchsorted(used, left, side="right")), items_left)
        taken[rest[:count]] = True
        left -= int(used[count - 1])
        items_left -= count
        rest = rest[count:]
    return taken
