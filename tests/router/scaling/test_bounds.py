"""Whatever comes, the number stays within its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.replica_load import FleetLoad, ReplicaLoad
from router.scaling import ScalingSettings, ScalingState, decide

LIMITS = ScalingSettings(min_replicas=1, max_replicas=10)

anything = st.floats(allow_nan=True, allow_infinity=True)


@given(
    loads=st.lists(st.builds(ReplicaLoad, *[anything] * len(ReplicaLoad._fields))),
    replicas=st.integers(-5, 50),
    rate=st.floats(0.0, 1e6),
    now_s=st.floats(-1e9, 1e9),
    low=st.integers(1, 9),
    span=st.integers(0, 9),
)
def test_no_report_takes_the_number_out_of_its_bounds(
    loads: list[ReplicaLoad],
    replicas: int,
    rate: float,
    now_s: float,
    low: int,
    span: int,
    fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad],
) -> None:
    limits = ScalingSettings(min_replicas=low, max_replicas=low + span)
    state = ScalingState(rate_per_s=rate, burst_per_s=rate)
    for later in range(3):
        replicas, state = decide(fleet_of(loads), replicas, state, limits, now_s + later)
        assert low <= replicas <= low + span
        assert math.isfinite(state.rate_per_s)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"streams": math.nan}, id="nan"),
        pytest.param({"backlog_tokens": math.inf}, id="infinite"),
        pytest.param({"demand_tokens": -1.0}, id="negative"),
        pytest.param({"accepted_total": 1e300}, id="huge"),
        pytest.param({"capacity_tokens": 0.0}, id="no memory"),
        pytest.param(
            {
                "streams": 5000.0,
                "below": 5000.0,
                "short": 5000.0,
                "accepting": 0.0,
                "demand_tokens": 500_000.0,
            },
            id="draining",
        ),
    ],
)
def test_a_replica_that_says_nothing_usable_is_left_out(
    changes: dict[str, float],
    idle: ReplicaLoad,
    busy: Callable[..., ReplicaLoad],
    fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad],
    first_decision: Callable[..., int],
) -> None:
    sound, garbage = busy(900.0), idle._replace(**changes)
    assert fleet_of([sound, garbage]).names == (0,)
    assert first_decision([sound, garbage], 2) == first_decision([sound], 2)
    assert first_decision([garbage], 3) == 3


def test_without_reports_the_number_stays_and_calm_is_over(
    fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad],
) -> None:
    state = ScalingState(enough=((0.0, 2),))
    replicas, state = decide(fleet_of([]), 4, state, LIMITS, now_s=1e6)
    assert (replicas, state.enough) == (4, ())


def test_bounds_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_replicas=2 is invalid.*min_replicas=3"):
        ScalingSettings(min_replicas=3, max_replicas=2)
