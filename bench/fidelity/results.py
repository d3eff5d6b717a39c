"""What the comparison of engine and replay comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import msgspec

from bench.load import PlannedStream
from bench.results import Environment
from bench.scores import Quality, Scores

POLICIES = ("fcfs", "andes")
TARGET = 0.10


class Outcome(Quality, frozen=True, kw_only=True):
    """What readers got from one run of the load.

    Attributes:
        tokens: Tokens delivered in all.
        preemptions: Times that a stream lost its KV memory.
        makespan_s: From the start of the load to the last token.
    """

    tokens: int
    preemptions: int
    makespan_s: float

    @classmethod
    def of(
        cls,
        streams: Sequence[PlannedStream],
        delivered_at_s: Sequence[Sequence[float]],
        preemptions: int,
    ) -> Self:
        """Score the delivery times of each stream, counted from the start of the load."""
        scores = Scores([stream.arrival_s for stream in streams])
        for row, (stream, times) in enumerate(zip(streams, delivered_at_s, strict=True)):
            since_arrival_s = [at_s - stream.arrival_s for at_s in times]
            scores.score(row, since_arrival_s, stream.expectation)
        return cls(
            **msgspec.structs.asdict(scores.quality()),
            tokens=int(scores.tokens.sum()),
            preemptions=preemptions,
            makespan_s=scores.makespan_s,
        )


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """`StepCost` as it was fitted, slowdown included."""

    base_s: float
    per_stream_s: float
    per_context_token_s: float
    per_prefill_token_s: float
    per_prefill_token2_s: float


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the real engine, and the replays of it.

    Attributes:
        constants: Fitted to the calibrations before and after the run.
        slowdown: Mean over typical step time in those calibrations.
        before_ms: A reference step as the calibration before the run has it.
        after_ms: The same as the one after has it.
        speed: Time the run's own steps took over what they cost with `constants`: what
            the host did between the two calibrations.
        plan_failures: Steps in which the real scheduler failed.
        replayed_at_speed: With `constants` times `speed`, which leaves the host out.
    """

    policy: str
    repeat: int
    constants: Constants
    slowdown: float
    before_ms: float
    after_ms: float
    speed: float
    plan_failures: int
    real: Outcome
    replayed: Outcome
    replayed_at_speed: Outcome


class Fidelity(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes fidelity` writes.

    Attributes:
        command: The command that makes it again.
        load: What was sent, in one sentence.
        arguments: Every setting.
        environment: Commit and machine.
        pairs: All runs, in the order they were made.
    """

    command: str
    load: str
    arguments: dict[str, object]
    environment: Environment
    pairs: Sequence[Pair]

    def of(self, policy: str) -> list[Pair]:
        """The runs of one scheduler, in order."""
        return [pair for pair in self.pairs if pair.policy == policy]


class Metric(msgspec.Struct, frozen=True):
    """A number that engine and replay should agree on.

    Attributes:
        is_target: The project promises at most `TARGET` of error in it.
    """

    name: str
    value: Callable[[Outcome], float]
    digits: int = 2
    is_target: bool = True

    def error(self, real: Outcome, replayed: Outcome) -> float:
        """The replay's distance from the engine, over the engine's; NaN where that is 0."""
        truth = self.value(real)
        return (self.value(replayed) - truth) / truth if truth else float("nan")


METRICS = (
    Metric("area QoE, mean", lambda o: o.mean_qoe_area, 3),
    Metric("delay QoE, mean", lambda o: o.mean_qoe_delay, 3),
    Metric("TTFT mean, s", lambda o: o.ttft_s.mean or 0.0),
    Metric("TTFT p99, s", lambda o: o.ttft_s.p99 or 0.0, is_target=False),
    Metric("tokens/s, all streams", lambda o: o.tokens_per_s, 0),
    Metric("tokens/s of a stream, p50", lambda o: o.tds.p50 or 0.0, 0, is_target=False),
    Metric("preemptions", lambda o: float(o.preemptions), 0, is_target=False),
)
