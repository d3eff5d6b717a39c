"""The choice that needs to know nothing: turns."""

from __future__ import annotations

import random
from collections.abc import Sequence

Ranks = list[list[int]]


class Turns:
    """Serve's own choice: [a pair, the rest], the pair led by the one whose turn it is.

    It has to be good on two paths. On the handle path Serve takes the shorter queue of a
    rank, by its own counts: the pair is its power of two choices, and the rest is there
    for when both are full. In direct streaming the first replica of the first rank is
    taken and nobody calls back, so Serve's counts stay at zero, and the ledger's would
    compare replicas that report, and so release, with replicas that do not. Taking turns
    needs no count, cannot herd, and never leaves a replica out: a new one gets the stream
    that makes it report.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        # Several routers should not begin their rounds with the same replica.
        self._turn = rng.randrange(2**16)

    def ranks(self, indices: Sequence[int]) -> Ranks:
        """Ranks of all `indices`; at least one."""
        self._turn += 1
        first = indices[self._turn % len(indices)]
        others = [i for i in indices if i != first]
        self._rng.shuffle(others)
        ranks = [[first, *others[:1]], others[1:]]
        return [r for r in ranks if r]
