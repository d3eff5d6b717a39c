"""Which replica should get a stream: the one with the least demand for its KV memory."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from router.ledger import Unseen
from telemetry.report import EngineReport

# Differences below a thousandth of the KV cache are noise of estimates and rounding.
SCORE_STEP = 1e-3


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What the router knows about one replica at the moment of a decision.

    Attributes:
        report: Its last report, or None.
        age_s: Seconds since the report last changed, on the router's clock.
        unseen: What it was sent that the report does not show.
    """

    report: EngineReport | None
    age_s: float
    unseen: Unseen


def usable_report(load: ReplicaLoad, max_report_age_s: float) -> EngineReport | None:
    """The report, unless it is missing, too old, or of an engine without KV memory.

    An idle engine makes no reports, so an idle report is never too old.
    """
    report = load.report
    if report is None or capacity_tokens(report) <= 0:
        return None
    return report if report.is_idle or load.age_s <= max_report_age_s else None


def rank(
    loads: Sequence[ReplicaLoad],
    stream_tokens: int,
    *,
    max_report_age_s: float,
    rng: random.Random,
) -> list[int] | None:
    """Indices of `loads`, best first: least demand per capacity with the stream on it.

    Scores that are equal to `SCORE_STEP` are decided by the fewest streams outstanding,
    and then by `rng`.

    Returns:
        None if any replica has no usable report. A replica that is judged by another
        metric than its peers attracts all streams or none; so either all are scored, or
        none is.
    """
    keys = []
    for load in loads:
        report = usable_report(load, max_report_age_s)
        if report is None:
            return None
        step = round(score(report, load.unseen, stream_tokens) / SCORE_STEP)
        outstanding = report.running + report.waiting + load.unseen.streams
        keys.append((step, outstanding, rng.random()))
    return sorted(range(len(keys)), key=keys.__getitem__)


def score(report: EngineReport, unseen: Unseen, stream_tokens: int) -> float:
    """Demand over capacity with the stream placed there; above 1, somebody must wait."""
    demand_tokens = report.demand_tokens + unseen.demand_tokens + stream_tokens
    return demand_tokens / capacity_tokens(report)


def capacity_tokens(report: EngineReport) -> int:
    """Context tokens that the engine's KV cache holds."""
    return report.kv_blocks_total * report.block_size_tokens
