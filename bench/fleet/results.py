"""What a replay of many replicas comes to."""

from __future__ import annotations

import msgspec

from bench.replay.results import RunSummary


class ReplicaSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One replica in numbers.

    Attributes:
        requests: Streams that ended on it, well or not.
        mean_qoe_area: Of these; None without any.
        p5_qoe_area: Of these; None without any.
        tokens_per_s: Over the whole run.
        preemptions: Times that a stream lost its KV memory.
        busy_share: Part of the run that it spent in steps with work.
    """

    requests: int
    mean_qoe_area: float | None
    p5_qoe_area: float | None
    tokens_per_s: float
    preemptions: int
    busy_share: float


class Imbalance(msgspec.Struct, frozen=True):
    """Standard deviation over mean, across the replicas.

    Attributes:
        requests_cv: Of the streams that ended on each.
        demand_cv: Of the context tokens of each one's live streams: the mean over time.
    """

    requests_cv: float
    demand_cv: float


class FleetSummary(RunSummary, frozen=True, kw_only=True):
    """One run of a fleet in numbers; `peak_waiting` is of its worst replica.

    Attributes:
        router: The routing policy.
        failed: Streams that a killed replica cut off, or that found no replica alive.
        rerouted: Times that a stream without a token was sent to another replica.
        resumed: Times that a stream was continued by another replica.
        fallbacks: Placements without scores, for want of fresh reports.
    """

    router: str
    replicas: tuple[ReplicaSummary, ...]
    imbalance: Imbalance
    failed: int
    rerouted: int
    resumed: int
    fallbacks: int
