"""What scaling goes by, from reports and over fleets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from router.replica_load import (
    DEFAULT_PACE_TOKENS_PER_S,
    FleetLoad,
    ReplicaLoad,
    load_of,
    pressure,
)
from router.scaling import ScalingSettings

LIMITS = ScalingSettings(min_replicas=1, max_replicas=10)


def test_on_half_the_replicas_batches_more_than_double(
    busy: Callable[..., ReplicaLoad], fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad]
) -> None:
    # 20 streams a second on each: 2,000 tokens/s in batches of 33.
    fleet = fleet_of([busy(33.0)] * 4)
    now, half = pressure(fleet, 80.0, np.array([1.0, 2.0])).memory
    assert now == pytest.approx(0.033, rel=0.02)
    assert half == pytest.approx(0.2, rel=0.02)


def test_work_is_the_time_for_prompts_and_for_answers_in_full_batches(
    busy: Callable[..., ReplicaLoad], fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad]
) -> None:
    fleet = fleet_of([busy(33.0)] * 4)
    (work,) = pressure(fleet, 80.0, np.ones(1)).work
    assert work == pytest.approx(0.2 + 2000.0 / (1000.0 / 0.11))


def test_a_report_becomes_the_numbers_that_scaling_goes_by(make_report: Any) -> None:
    report = make_report(
        running=5,
        waiting=3,
        demand_tokens=700,
        accepted_total=99,
        prefill_backlog_tokens=60,
        slack_histogram=(1, 1, 1, 1, 1, 1, 1, 1),
        streams_below_target=2,
        step_base_s=0.01,
        step_per_stream_s=1e-4,
        prefill_s_per_token=1e-5,
        preempted=2,
        promised_tokens_per_s=42.0,
        tokens_total=1000,
        mean_output_tokens=50.0,
    )
    assert load_of(report) == ReplicaLoad(
        1.0, 8.0, 2.0, 3.0, 16_000, 700, 60, 0.01, 1e-4, 1e-5, 7.0, 42.0, 50.0, 99
    )


def test_an_engine_that_has_learned_nothing_yet_is_taken_for_one_of_the_others(
    make_report: Any,
    idle: ReplicaLoad,
    fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad],
) -> None:
    guess = load_of(make_report(step_base_s=9.0, prefill_s_per_token=9.0, tokens_total=1))
    known = fleet_of([idle._replace(base_s=0.03), guess]).columns
    assert known.base_s.tolist() == [0.03, 0.03]
    assert known.prefill_s.tolist() == [idle.prefill_s] * 2


def test_readers_ask_for_the_pace_of_those_who_have_begun(
    busy: Callable[..., ReplicaLoad], fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad]
) -> None:
    """Those that wait are taken to read like them; without any, like everybody."""
    unknown = fleet_of([busy(100.0)] * 2)
    fast = busy(100.0, promised_streams=50.0, promised_tokens_per_s=1000.0)
    slow = busy(100.0, promised_streams=50.0, promised_tokens_per_s=200.0)
    assert unknown.pace_tokens_per_s == DEFAULT_PACE_TOKENS_PER_S
    fleet = fleet_of([fast, slow])
    assert fleet.pace_tokens_per_s == pytest.approx(12.0)
    one = np.ones(1)
    ratio = pressure(fleet, 0.0, one).readers / pressure(unknown, 0.0, one).readers
    assert ratio == pytest.approx(12.0 / DEFAULT_PACE_TOKENS_PER_S)
