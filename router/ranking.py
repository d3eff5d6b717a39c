"""From a policy's costs to an order of replicas: what all policies share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qoe.forecast import Floats
from router.cost import Ask, Costs
from router.fleet_state import FleetState
from router.policies import POLICIES
from router.settings import RouterSettings

Order = npt.NDArray[np.intp]

# Differences below a thousandth of a reader's QoE, or of a KV cache, are noise of
# estimates and rounding.
STEP = 1e-3
# The share of its traffic that an engine gets as soon as it has started.
FIRST_SHARE = 0.25


class Ranking(NamedTuple):
    """A decision by costs.

    Attributes:
        order: All rows, the best first.
        costs: What the policy said of all rows.
    """

    order: Order
    costs: Costs


class Ranker:
    """Orders replicas by what a policy says a placement on them costs.

    Args:
        settings: Of the router.
        rng: For the policy, and for the choice between equals.
    """

    def __init__(self, settings: RouterSettings, rng: np.random.Generator) -> None:
        self._settings = settings
        self._rng = rng
        self.policy = POLICIES[settings.policy](rng)

    def rank(
        self, fleet: FleetState, ask: Ask, *, now_s: float, home: int | None = None
    ) -> Ranking:
        """The order of all, the best first.

        Args:
            fleet: At least one replica.
            ask: The stream.
            now_s: On the clock of the reports' times.
            home: Row of the replica that the stream's session used last.
        """
        settings, weight = self._settings, ask.expectation.weight
        share = started_share(fleet, now_s, settings.slow_start_s)
        if share is not None:
            fleet = fleet.shared(share)
        costs = self.policy.costs(fleet, ask)
        total = costs.total / weight
        order = _ordered(fleet, total, ask.demand_tokens, self._rng)
        return Ranking(self._first(order, total, home), costs)

    def _first(self, order: Order, costs: Floats, home: int | None) -> Order:
        """The same order, led by who is to be taken of it."""
        if not self.policy.needs_reports:
            return order
        best = order[0]
        if self._settings.routers > 1 and order.size > 2:
            # All routers see the same replica as the best; of two drawn each sees others.
            best = order[self._rng.choice(order.size, 2, replace=False).min()]
        if self.policy.weighs_qoe and home is not None:
            is_close = costs[home] <= costs[best] + self._settings.session_epsilon
            best = home if is_close else best
        if best == order[0]:
            return order
        return np.concatenate(([best], order[order != best]))


def started_share(fleet: FleetState, now_s: float, slow_start_s: float) -> Floats | None:
    """How much of its memory and speed each engine is trusted with; None for all."""
    if now_s - fleet.newest_start_at_s >= slow_start_s:
        return None
    since_s = now_s - fleet.reported.started_at_s
    share = FIRST_SHARE + (1.0 - FIRST_SHARE) * since_s / slow_start_s
    return np.clip(share, FIRST_SHARE, 1.0)


def _ordered(
    fleet: FleetState, costs: Floats, demand_tokens: float, rng: np.random.Generator
) -> Order:
    """Rows, the lowest cost first.

    Costs that are equal to `STEP` are decided by demand per memory and speed with the
    stream on it, then by the fewest live streams, then by `rng`.
    """
    told = fleet.reported
    demand = told.demand_tokens + fleet.unseen_tokens + demand_tokens
    load = demand * fleet.slowness / told.capacity_tokens
    streams = told.streams + fleet.unseen_streams
    load_steps, cost_steps = np.rint(load / STEP), np.rint(costs / STEP)
    order: Order = np.lexsort((rng.random(costs.size), streams, load_steps, cost_steps))
    return order
