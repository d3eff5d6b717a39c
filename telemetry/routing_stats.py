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
ENDPOINT_KEY = "andes_endpoint"

# What changes with every token, and only the fast path can carry; see `broadcast`.
_FAST_PATH_ONLY = ("marginal_loss", "accepted_keys", "ended_keys", "slack_histogram")


def to_routing_stats(
    report: EngineReport | None, endpoint: str | None = None
) -> dict[str, Any]:
    """What `record_routing_stats` returns: plain values, about 1 KB.

    Equal reports give equal stats, and without a report there is none in them. `seq` is
    among them, for routers to tell a silent engine by; an idle engine makes no new ones.

    Args:
        report: What the engine last said, if anything.
        endpoint: Where the replica broadcasts the same reports in full, and sooner.
    """
    stats: dict[str, Any] = {} if endpoint is None else {ENDPOINT_KEY: endpoint}
    if report is not None:
        fields = msgspec.to_builtins(_quantised(report))
        stats[KEY] = {k: v for k, v in fields.items() if k not in _FAST_PATH_ONLY}
    return stats


def endpoint_of(stats: object) -> str | None:
    """Where a replica with these routing stats broadcasts; None if it does not say."""
    endpoint = stats.get(ENDPOINT_KEY) if isinstance(stats, dict) else None
    return endpoint if isinstance(endpoint, str) else None


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
        demand_tokens=_whole_blocks(report.demand_tokens, block),
        prefill_backlog_tokens=_whole_blocks(report.prefill_backlog_tokens, block),
        resume_debt_tokens=_whole_blocks(report.resume_debt_tokens, block),
        mean_output_tokens=_rounded(report.mean_output_tokens, 0),
        step_time_s=_rounded(report.step_time_s, 4),
        step_base_s=_significant(report.step_base_s),
        step_per_stream_s=_significant(report.step_per_stream_s),
        prefill_s_per_token=_significant(report.prefill_s_per_token),
        promised_tokens_per_s=_significant(report.promised_tokens_per_s),
        tokens_per_s=_significant(report.tokens_per_s),
        qoe_mean=_rounded(report.qoe_mean, 2),
        qoe_p5=_rounded(report.qoe_p5, 2),
    )


def _whole_blocks(tokens: int, block_size_tokens: int) -> int:
    return math.ceil(tokens / block_size_tokens) * block_size_tokens


def _significant(value: float) -> float:
    # A cost per token is some microseconds: places after the point would leave nothing.
    return float(f"{value:.2g}") if math.isfinite(value) else 0.0


def _rounded(value: float, digits: int) -> float:
    # NaN differs from itself: it would make Serve send everything in every period.
    return round(value, digits) if math.isfinite(value) else 0.0
