"""A report as the routing stats of a Ray Serve replica: slow, small and quiet.

Serve sends every replica's stats to every router whenever one replica's have changed, so
values that jitter are rounded to what a router can use, and an idle engine's stay equal.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from telemetry.report import EngineReport, from_mapping

KEY = "andes"


def to_routing_stats(report: EngineReport | None) -> dict[str, Any]:
    """What `record_routing_stats` returns: plain values under `KEY`, below 1 KB.

    Equal reports give equal stats, and without a report there are none. `seq` is among
    them, for routers to tell a silent engine by; an idle engine makes no new ones.
    """
    if report is None:
        return {}
    return {KEY: msgspec.to_builtins(_quantised(report))}


def from_routing_stats(stats: object) -> EngineReport | None:
    """The report in a replica's routing stats; None if there is none to be had."""
    if not isinstance(stats, dict):
        return None
    try:
        return from_mapping(stats.get(KEY))
    except (ValueError, RecursionError):
        return None


def _quantised(report: EngineReport) -> EngineReport:
    block = max(1, report.block_size_tokens)
    return msgspec.structs.replace(
        report,
        demand_tokens=math.ceil(report.demand_tokens / block) * block,
        mean_output_tokens=_rounded(report.mean_output_tokens, 0),
        step_time_s=_rounded(report.step_time_s, 4),
        qoe_mean=_rounded(report.qoe_mean, 2),
        qoe_p5=_rounded(report.qoe_p5, 2),
    )


def _rounded(value: float, digits: int) -> float:
    # NaN differs from itself: it would make Serve send everything in every period.
    return round(value, digits) if math.isfinite(value) else 0.0
