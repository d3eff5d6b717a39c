"""Serve's own autoscaling code drives our policy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from deployments.autoscaling import (
    PUSH_PERIOD_S,
    RECORD_PERIOD_S,
    QoEScaling,
    autoscaling_options,
    qoe_policy,
)
from router.scaling import ScalingSettings
from telemetry.report import EngineReport

LIMITS = ScalingSettings(min_replicas=1, max_replicas=6)


def test_serve_scales_up_in_its_first_decision_after_the_report_of_a_burst(
    new_controller: Callable[..., Any], calm: EngineReport, trouble: EngineReport
) -> None:
    controller = new_controller()
    controller.push_all(calm, calm)
    assert controller.decide() == 2
    controller.push_all(trouble, trouble)
    up = controller.decide()
    assert up > 2
    # The new ones are starting: the same reports ask for no more.
    assert [controller.decide() for _ in range(5)] == [up] * 5


def test_serve_scales_down_after_the_policys_own_cool_down(
    new_controller: Callable[..., Any], idle: EngineReport
) -> None:
    limits = ScalingSettings(max_replicas=6, down_after_s=0.2, down_every_s=0.2)
    controller = new_controller(limits, replicas=3)
    controller.push_all(idle, idle, idle)
    assert controller.decide() == 3
    numbers, deadline_s = [3], time.monotonic() + 20.0
    while numbers[-1] > 1 and time.monotonic() < deadline_s:
        numbers.append(controller.decide())
        controller.run(numbers[-1])
        time.sleep(0.05)
    assert [n for n, before in zip(numbers[1:], numbers, strict=False) if n != before] == [
        2,
        1,
    ]


def test_serves_bounds_are_the_policys(
    new_controller: Callable[..., Any],
    new_context: Callable[..., AutoscalingContext],
    trouble: EngineReport,
) -> None:
    controller = new_controller(ScalingSettings(min_replicas=2, max_replicas=3))
    controller.push_all(trouble, trouble)
    assert controller.decide() == 3
    # `target_capacity` moves them at run time, down to nothing.
    assert QoEScaling()(new_context({}, bounds=(1, 2)))[0] == 2
    assert QoEScaling()(new_context({}, bounds=(0, 0)))[0] == 0


def test_thresholds_reach_the_policy_that_serve_builds() -> None:
    options = autoscaling_options(ScalingSettings(max_replicas=9, kv_share=0.1), 2)
    config = AutoscalingConfig(**options["autoscaling_config"])
    policy = config.policy.get_policy()
    assert policy.__name__ == "QoEScaling"
    assert policy(**config.policy.policy_kwargs)._settings.kv_share == 0.1
    with pytest.raises(ValueError, match="kv_shore"):
        QoEScaling(kv_shore=1.0)


def test_serve_adds_no_delay_and_hears_of_a_burst_within_a_push() -> None:
    config = AutoscalingConfig(**autoscaling_options(LIMITS, 2)["autoscaling_config"])
    assert (config.upscale_delay_s, config.downscale_delay_s) == (0.0, 0.0)
    assert config.get_upscaling_factor() == config.get_downscaling_factor() == 1.0
    assert config.metrics_interval_s == PUSH_PERIOD_S <= 1.0
    # As `ReplicaMetricsManager.start_metrics_pusher` has it.
    assert 0.2 * config.look_back_period_s == pytest.approx(RECORD_PERIOD_S)


def test_memory_that_is_not_ours_is_no_memory(
    new_context: Callable[..., AutoscalingContext],
) -> None:
    replicas, memory = qoe_policy(new_context({"andes": "gone"}))
    assert replicas == 2
    assert qoe_policy(new_context(memory))[0] == 2
