"""What a policy is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from router.cost import Ask, Costs
from router.fleet_state import FleetState


class Policy(ABC):
    """Says what it costs to place a stream on each replica; the least is chosen.

    What all policies share is done elsewhere: ties, old reports, engines that drain or have
    just started, and what to do when reports are missing.

    Args:
        rng: For whatever is left to chance.
    """

    # Whether it goes by reports, or by what this router counts itself.
    needs_reports: ClassVar[bool] = True
    # Whether its costs are QoE, and tell a stream that is worth less than it costs.
    weighs_qoe: ClassVar[bool] = False

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    @abstractmethod
    def costs(self, fleet: FleetState, ask: Ask) -> Costs:
        """Cost on each replica, shape (n,); those that differ by 1e-3 at most are equal."""
