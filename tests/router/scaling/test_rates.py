"""The rate of arrivals, from what replicas have accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from router.replica_load import FleetLoad, ReplicaLoad
from router.scaling import ScalingSettings, ScalingState, decide

LIMITS = ScalingSettings(min_replicas=1, max_replicas=10)


def test_an_engine_that_starts_to_count_anew_is_no_burst(
    idle: ReplicaLoad, fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad]
) -> None:
    state = ScalingState()
    for second, total in enumerate([1e6, 1e6, 0.0, 0.0]):
        fleet = fleet_of([idle._replace(accepted_total=total)])
        _, state = decide(fleet, 1, state, LIMITS, float(second))
    assert state.offered_per_s(LIMITS.rate_window_s) == 0.0


def test_the_rate_of_arrivals_is_found_however_often_it_is_looked_for(
    idle: ReplicaLoad, fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad]
) -> None:
    for per_s in (1, 10):
        state = ScalingState()
        for look in range(60 * per_s):
            # Reports come once a second.
            fleet = fleet_of([idle._replace(accepted_total=10.0 * (look // per_s))])
            state = state.observed(fleet, 10.0, look / per_s)
        assert state.rate_per_s == pytest.approx(10.0, rel=0.1)
