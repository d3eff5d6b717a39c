"""Replicas without engines, and the numbers that scaling makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest

from router.replica_load import FleetLoad, ReplicaLoad
from router.scaling import ScalingSettings, ScalingState, decide

# 1,000 streams of 100 tokens fill the memory, at a step of 0.11 s.
IDLE = ReplicaLoad(
    accepting=1.0,
    streams=0.0,
    below=0.0,
    short=0.0,
    capacity_tokens=100_000.0,
    demand_tokens=0.0,
    backlog_tokens=0.0,
    base_s=0.01,
    per_stream_s=1e-4,
    prefill_s=1e-4,
    promised_streams=0.0,
    promised_tokens_per_s=0.0,
    output_tokens=100.0,
    accepted_total=0.0,
)
LIMITS = ScalingSettings(min_replicas=1, max_replicas=10)


def _busy(streams: float, **changes: float) -> ReplicaLoad:
    return IDLE._replace(streams=streams, demand_tokens=100.0 * streams, **changes)


def _fleet_of(loads: Iterable[ReplicaLoad]) -> FleetLoad:
    return FleetLoad.of(dict(enumerate(loads)))


def _first_decision(
    loads: Iterable[ReplicaLoad], replicas: int, rate_per_s: float = 0.0, **limits: Any
) -> int:
    state = ScalingState(looked_at_s=0.0, rate_per_s=rate_per_s)
    limits_of = ScalingSettings.model_validate(LIMITS.model_dump() | limits)
    return decide(_fleet_of(loads), replicas, state, limits_of, now_s=0.0)[0]


def _decisions(
    loads_at: Any, replicas: int, until_s: int, limits: ScalingSettings = LIMITS
) -> list[int]:
    state, numbers = ScalingState(), []
    for second in range(until_s):
        fleet = _fleet_of(loads_at(second, replicas))
        replicas, state = decide(fleet, replicas, state, limits, float(second))
        numbers.append(replicas)
    return numbers


def _changed_at(numbers: list[int]) -> list[int]:
    return [s for s, (a, b) in enumerate(pairwise(numbers), start=1) if a != b]


# Of the session: for tests that draw many examples.
@pytest.fixture(scope="session")
def idle() -> ReplicaLoad:
    """A replica without streams, which has room for 1,000 of 100 tokens."""
    return IDLE


@pytest.fixture(scope="session")
def busy() -> Callable[..., ReplicaLoad]:
    """A replica with so many streams of 100 tokens."""
    return _busy


@pytest.fixture(scope="session")
def fleet_of() -> Callable[[Iterable[ReplicaLoad]], FleetLoad]:
    """The fleet of these replicas."""
    return _fleet_of


@pytest.fixture(scope="session")
def first_decision() -> Callable[..., int]:
    """The number that a state without a past decides on."""
    return _first_decision


@pytest.fixture(scope="session")
def decisions() -> Callable[..., list[int]]:
    """The number after each second."""
    return _decisions


@pytest.fixture(scope="session")
def changed_at() -> Callable[[list[int]], list[int]]:
    """The seconds at which the number is another than before."""
    return _changed_at
