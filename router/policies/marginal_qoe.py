"""The policy that this project is about."""

from __future__ import annotations

from router.cost import Ask, Costs, placement_costs
from router.fleet_state import FleetState
from router.policies.base import Policy


class MarginalQoE(Policy):
    """Where all readers together lose least: this one, and those already there."""

    weighs_qoe = True

    def costs(self, fleet: FleetState, ask: Ask) -> Costs:
        return placement_costs(fleet, ask)
