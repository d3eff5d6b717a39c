"""Policies that go by KV memory alone."""

from __future__ import annotations

import numpy as np

from router.cost import Ask, Costs
from router.demand import DEFAULT_OUTPUT_TOKENS
from router.fleet_state import FleetState
from router.policies.base import Policy


class KVLedger(Policy):
    """The least demand per capacity with the stream on it; above 1, somebody must wait."""

    def costs(self, fleet: FleetState, ask: Ask) -> Costs:
        told = fleet.reported
        demand = told.demand_tokens + fleet.unseen_tokens + ask.demand_tokens
        return Costs(demand / told.capacity_tokens, np.zeros(demand.size))


class RemainingSteps(Policy):
    """The most decode steps until memory runs out: free tokens per live stream (Llumnix).

    As a cost between 0 and 1, of running out before an average answer is through. Above 1
    it has run out already.
    """

    def costs(self, fleet: FleetState, ask: Ask) -> Costs:
        told = fleet.reported
        # Waiting streams hold nothing yet, but have their claim on what is free.
        held_or_claimed = np.maximum(
            told.demand_tokens, told.capacity_tokens - told.free_tokens
        )
        free = told.capacity_tokens - held_or_claimed - fleet.unseen_tokens
        free = free - ask.demand_tokens
        steps = free / (told.streams + fleet.unseen_streams + 1.0)
        costs = 1.0 / (1.0 + np.maximum(steps, 0.0) / DEFAULT_OUTPUT_TOKENS)
        costs -= np.minimum(free, 0.0) / told.capacity_tokens
        return Costs(costs, np.zeros(costs.size))
