"""Policies that go by what the router itself has sent, and ask no engine."""

from __future__ import annotations

import numpy as np

from qoe.forecast import Floats
from router.cost import Ask, Costs
from router.fleet_state import FleetState
from router.policies.base import Policy

# Above any count of streams.
_LAST = 1e9


class RoundRobin(Policy):
    """Each in its turn."""

    needs_reports = False

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        # Several routers should not begin their rounds with the same replica.
        self._turn = int(rng.integers(2**16))

    def costs(self, fleet: FleetState, ask: Ask) -> Costs:
        count = fleet.rows.size
        self._turn += 1
        turns = (fleet.rows - self._turn) % count
        return _only_own(turns.astype(np.float64))


class LeastOutstanding(Policy):
    """The one with the fewest streams sent and not completed."""

    needs_reports = False

    def costs(self, fleet: FleetState, ask: Ask) -> Costs:
        return _only_own(fleet.outstanding)


class PowerOfTwo(Policy):
    """The one of two drawn that has fewer streams sent and not completed."""

    needs_reports = False

    def costs(self, fleet: FleetState, ask: Ask) -> Costs:
        costs = fleet.outstanding + _LAST
        pair = self._rng.permutation(fleet.rows.size)[:2]
        costs[pair] -= _LAST
        return _only_own(costs)


def _only_own(costs: Floats) -> Costs:
    return Costs(costs, np.zeros_like(costs))
