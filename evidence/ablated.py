"""The policy without one of its parts. Settings take them by import string."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from scheduler.policies.andes import AndesPolicy, Ranking
from scheduler.snapshot import NOBODY, Bools, Floats, Ints, Snapshot


class _InOrderOfArrival(Ranking):
    @cached_property
    def worth(self) -> Floats:
        return -np.arange(self._snapshot.size, dtype=np.float64)


class _NobodyIsLate(Ranking):
    @cached_property
    def is_late(self) -> Bools:
        return np.zeros(self._snapshot.size, dtype=np.bool_)


class _NoSwaps(Ranking):
    @property
    def urgent(self) -> Ints:
        return NOBODY


class _CheapestFirst(Ranking):
    @cached_property
    def worth(self) -> Floats:
        snapshot = self._snapshot
        served = snapshot.forecast.served(snapshot.start_delay_s, self._tokens_per_s)
        worth: Floats = super().worth / np.maximum(served, 1e-9)
        return worth


class WithoutWorth(AndesPolicy):
    """Among equals, whoever came first."""

    def _ranking(self, snapshot: Snapshot) -> Ranking:
        return _InOrderOfArrival(snapshot, self.settings.max_throughput_loss)


class WithoutLateness(AndesPolicy):
    """Who is late is ranked with those who can be in time."""

    def _ranking(self, snapshot: Snapshot) -> Ranking:
        return _NobodyIsLate(snapshot, self.settings.max_throughput_loss)


class WithoutSwaps(AndesPolicy):
    """Nobody leaves for anybody."""

    def _ranking(self, snapshot: Snapshot) -> Ranking:
        return _NoSwaps(snapshot, self.settings.max_throughput_loss)


class WithoutPrefillLimit(AndesPolicy):
    """Steps compute as much prompt as vLLM lets them."""

    def _token_budget(self, snapshot: Snapshot) -> int | None:
        return None


class WithoutForecast(AndesPolicy):
    """Among equals, whoever costs least for its weight, whatever QoE it would have."""

    def _ranking(self, snapshot: Snapshot) -> Ranking:
        return _CheapestFirst(snapshot, self.settings.max_throughput_loss)
