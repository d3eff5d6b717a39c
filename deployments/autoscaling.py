"""Scaling in Ray Serve: our policy on what replicas record, and Serve's own to compare.

Serve calls a policy in its controller every 0.1 s. What a replica records reaches it within
`RECORD_PERIOD_S` + `PUSH_PERIOD_S`, and Serve adds no delay of its own to the decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ray.serve._private.common import DeploymentID, ReplicaID, TimeSeries, TimeStampedValue
from ray.serve._private.metrics_utils import aggregate_timeseries
from ray.serve.autoscaling_policy import (
    _apply_delay_logic,
    _apply_scaling_factors,
    replica_queue_length_autoscaling_policy,
)
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from router.replica_load import FleetLoad, ReplicaLoad, load_of
from router.scaling import ScalingSettings, ScalingState, decide
from telemetry.report import EngineReport

POLICY = "deployments.autoscaling:QoEScaling"
# Serve records every 0.2 look-back periods, and the look-back must exceed the push.
PUSH_PERIOD_S, RECORD_PERIOD_S = 1.0, 0.4
_RECORDS_PER_LOOK_BACK = 5
# A replica that has recorded nothing for this long is as good as silent. It is far above
# what clocks of two hosts differ by.
MAX_STATS_AGE_S = 30.0
_PREFIX = "andes_"
_STATE = "andes"


def autoscaling_stats(report: EngineReport | None) -> dict[str, float]:
    """What `record_autoscaling_stats` returns; nothing before the first report.

    Serve wants numbers, and nothing else, from the first call on.
    """
    if report is None:
        return {}
    return {_PREFIX + k: float(v) for k, v in load_of(report)._asdict().items()}


def autoscaling_options(settings: ScalingSettings, replicas: int) -> dict[str, Any]:
    """The options of a deployment that starts with `replicas` and scales by QoE."""
    bounds = {"min_replicas": settings.min_replicas, "max_replicas": settings.max_replicas}
    thresholds = settings.model_dump(exclude=set(bounds), exclude_defaults=True)
    return {
        "autoscaling_config": {
            **bounds,
            "initial_replicas": replicas,
            "policy": {"policy_function": POLICY, "policy_kwargs": thresholds},
            # The policy waits where waiting is due.
            "upscale_delay_s": 0.0,
            "downscale_delay_s": 0.0,
            "metrics_interval_s": PUSH_PERIOD_S,
            "look_back_period_s": _RECORDS_PER_LOOK_BACK * RECORD_PERIOD_S,
        },
    }


class QoEScaling:
    """The policy as Serve builds it: once, with `policy_kwargs`.

    Args:
        thresholds: Fields of `ScalingSettings`; Serve has its own say on the bounds.
    """

    def __init__(self, **thresholds: Any) -> None:
        self._settings = ScalingSettings(**thresholds)

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """How many replicas there should be, and what to remember."""
        bounds = {
            # Nobody scales up from zero here: without replicas there are no reports.
            "min_replicas": max(ctx.capacity_adjusted_min_replicas, 1),
            "max_replicas": ctx.capacity_adjusted_max_replicas,
        }
        known = ctx.policy_state.get(_STATE)
        replicas, state = decide(
            FleetLoad.of(dict(_loads(ctx))),
            ctx.target_num_replicas,
            known if isinstance(known, ScalingState) else ScalingState(),
            self._settings.model_copy(update=bounds),
            ctx.current_time or 0.0,
        )
        return replicas, {_STATE: state}


def qoe_policy(ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """`QoEScaling` with its defaults, where a config names a function."""
    return QoEScaling()(ctx)


def _loads(ctx: AutoscalingContext) -> Iterator[tuple[ReplicaID, ReplicaLoad]]:
    """The newest of what every running replica recorded."""
    recorded: Mapping[str, Mapping[ReplicaID, TimeSeries]] = ctx.raw_metrics or {}
    of_field = [recorded.get(_PREFIX + name, {}) for name in ReplicaLoad._fields]
    oldest_s = (ctx.current_time or 0.0) - MAX_STATS_AGE_S
    for replica in ctx.running_replicas:
        newest = [series.get(replica) or [None] for series in of_field]
        values = [
            s[-1].value for s in newest if s[-1] is not None and s[-1].timestamp >= oldest_s
        ]
        if len(values) == len(of_field) and all(
            isinstance(v, (int, float)) for v in values
        ):
            yield replica, ReplicaLoad(*values)


@dataclass(frozen=True, slots=True)
class OngoingState:
    """What one decision of `ongoing_policy` leaves for the next.

    Attributes:
        samples: Ongoing requests within the look-back period.
        delays: Serve's own memory of its delays.
    """

    samples: tuple[TimeStampedValue, ...] = ()
    delays: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def ongoing_policy(
    fleet: FleetLoad,
    replicas: int,
    state: OngoingState,
    config: AutoscalingConfig,
    now_s: float,
) -> tuple[int, OngoingState]:
    """Serve's default policy, in whatever time the caller lives: its code, our clock.

    Every decision is a sample of the ongoing requests, which Serve would get late.

    Args:
        fleet: What the replicas that serve now report.
        replicas: The number asked for last, those that are still starting included.
        state: From the last decision.
        config: Target, bounds, delays, factors and look-back, as for Serve.
        now_s: Not before that of the last decision.
    """
    window_s = config.look_back_period_s
    samples = [s for s in state.samples if s.timestamp > now_s - window_s]
    samples.append(TimeStampedValue(now_s, fleet.streams))
    # As Serve does: the newest sample holds from when it came until now.
    ongoing = aggregate_timeseries(samples, config.aggregation_function, last_window_s=1e-3)
    ctx = _context(fleet.size, replicas, ongoing or 0.0, config, now_s)
    desired, _ = replica_queue_length_autoscaling_policy(ctx)
    scaled = max(_apply_scaling_factors(desired, fleet.size, config), 0)
    decided, delays = _apply_delay_logic(
        scaled, replicas, config, dict(state.delays), _now=now_s
    )
    bounded = min(max(decided, config.min_replicas), config.max_replicas)
    return bounded, OngoingState(tuple(samples), MappingProxyType(delays))


def _context(
    running: int, target: int, ongoing: float, config: AutoscalingConfig, now_s: float
) -> AutoscalingContext:
    return AutoscalingContext(
        deployment_id=DeploymentID("replay"),
        deployment_name="replay",
        app_name=None,
        current_num_replicas=running,
        target_num_replicas=target,
        running_replicas=[],
        total_num_requests=ongoing,
        total_queued_requests=0.0,
        aggregated_metrics=None,
        raw_metrics=None,
        capacity_adjusted_min_replicas=config.min_replicas,
        capacity_adjusted_max_replicas=config.max_replicas,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now_s,
        config=config,
    )
