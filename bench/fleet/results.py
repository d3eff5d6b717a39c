"""What a replay of many replicas comes to."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

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


def variation(values: Sequence[float]) -> float:
    """Standard deviation over mean; 0 where all are 0 or there are none."""
    mean = float(np.mean(values)) if values else 0.0
    return float(np.std(values)) / mean if mean else 0.0


class Imbalance(msgspec.Struct, frozen=True):
    """Standard deviation over mean, across the replicas.

    Attributes:
        requests_cv: Of the streams that ended on each.
        demand_cv: Of the context tokens of each one's live streams: the mean over time.
    """

    requests_cv: float
    demand_cv: float


class ScaleStep(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas from one moment on; all three hold GPUs.

    Attributes:
        starting: Ordered, and not there yet.
        serving: Those that take streams.
        leaving: Those that only finish what they have.
    """

    at_s: float
    starting: int
    serving: int
    leaving: int


class ScaleEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An autoscaler wants another number of replicas than before."""

    at_s: float
    before: int
    after: int


class ScalingSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What an autoscaler did.

    Attributes:
        policy: Its name.
        settings: All that it went by.
        period_s: How often it was asked.
        startup_s: From the order of a replica to its first stream.
        events: Its changes of mind.
        steps: What became of them.
        steps_left_out: Steps beyond the longest list.
    """

    policy: str
    settings: dict[str, object]
    period_s: float
    startup_s: float
    events: tuple[ScaleEvent, ...]
    steps: tuple[ScaleStep, ...]
    steps_left_out: int


class FleetSummary(RunSummary, frozen=True, kw_only=True):
    """One run of a fleet in numbers; `peak_waiting` is of its worst replica.

    Attributes:
        router: The routing policy.
        failed: Streams that a killed replica cut off, or that found no replica alive.
        rerouted: Times that a stream without a token was sent to another replica.
        resumed: Times that a stream was continued by another replica.
        fallbacks: Placements without scores, for want of fresh reports.
        gpu_seconds: That replicas held GPUs: starting, serving and leaving, until the last
            token.
        scaling: What the autoscaler did; None without one.
    """

    router: str
    replicas: tuple[ReplicaSummary, ...]
    imbalance: Imbalance
    failed: int
    rerouted: int
    resumed: int
    fallbacks: int
    gpu_seconds: float
    scaling: ScalingSummary | None = None
