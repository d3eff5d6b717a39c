"""Whether another replica should go on with a stream that waits. Pure.

A stream is placed on what is known when it comes. What was a fair guess then may be wrong
later: answers nearby turned out long, or elsewhere short.
"""

from __future__ import annotations

import numpy as np

from qoe.forecast import Floats
from router.cost import Ask, placement_costs
from router.fleet_state import FleetState


def best_move(
    fleet: FleetState, ask: Ask, home: int, *, waited_s: float, min_gain: float
) -> int | None:
    """The replica that should go on with a waiting stream; None if it should stay.

    Args:
        fleet: The one that has it, and those that may go on with it.
        ask: What is left of it, as a stream to be placed.
        home: Row of the replica where it waits, and whose report counts it.
        waited_s: How long ago it was asked for; a reader loses the same past anywhere.
        min_gain: QoE that all readers together must win by it: what a wrong forecast and
            the way there may cost.
    """
    if fleet.rows.size < 2:
        return None
    costs = placement_costs(_without(fleet, ask, home), ask, waited_s=waited_s).total
    best = int(np.argmin(costs))
    return best if best != home and costs[home] - costs[best] >= min_gain else None


def _without(fleet: FleetState, ask: Ask, home: int) -> FleetState:
    """The fleet before the stream was placed."""
    told = fleet.reported
    is_home = fleet.rows == home
    reported = told._replace(
        demand_tokens=_less(told.demand_tokens, is_home * ask.prompt_tokens),
        streams=_less(told.streams, is_home * 1.0),
        queued_tokens=_less(told.queued_tokens, is_home * ask.prompt_tokens),
    )
    return fleet._replace(reported=reported)


def _less(column: Floats, by: Floats) -> Floats:
    # A report may be older than the stream.
    left: Floats = np.maximum(column - by, 0.0)
    return left
