"""What a replay comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from bench.results import Environment
from bench.scores import Quality, Scores, percentile

# Streams that have ended or were refused, and all of them.
OnProgress = Callable[[int, int], None]


class PlanMs(msgspec.Struct, frozen=True):
    """Real milliseconds of a plan, over the steps with one; None where vLLM decides."""

    p50: float | None
    p99: float | None


def plan_ms(plans_s: Iterable[Sequence[float]]) -> PlanMs:
    """Of every plan of every engine."""
    ms = np.concatenate([np.asarray(s, dtype=np.float64) for s in plans_s]) * 1e3
    if not ms.size:
        return PlanMs(None, None)
    return PlanMs(percentile(ms, 50), percentile(ms, 99))


class RunSummary(Quality, frozen=True, kw_only=True):
    """One run in numbers.

    Attributes:
        preemptions_per_request: Times that a stream lost its KV memory.
        peak_waiting: Most streams that waited for memory after any step.
        plan_ms: The only number that the machine decides.
        refused: Streams too large for the engine; in `requests`, with QoE 0.
        out_of_patience: Streams refused since no token could come in time; so are these.
        makespan_s: From the start of the load to the last token.
    """

    preemptions_per_request: float
    peak_waiting: int
    plan_ms: PlanMs
    refused: int
    makespan_s: float
    out_of_patience: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one cell.

    Attributes:
        plan_failures: Steps in which the scheduler failed and left the step to vLLM.
        router: The routing policy before it; None for one engine without.
        scaling: Who changed the number of replicas; None for nobody.
    """

    scheduler: str
    summary: RunSummary
    scores: Scores
    plan_failures: int
    router: str | None = None
    scaling: str | None = None

    @property
    def label(self) -> str:
        """Its name in tables and pictures."""
        return label(self.scheduler, self.router, self.scaling)

    def row(self) -> dict[str, object]:
        """The run as JSON has it."""
        return {"scheduler": self.scheduler, **msgspec.to_builtins(self.summary)}


def label(scheduler: str, router: str | None, scaling: str | None = None) -> str:
    """What a run is called."""
    routed = scheduler if router is None else f"{router} + {scheduler}"
    return routed if scaling is None else f"{routed}, {scaling}"


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes replay --json` writes: a row for each run."""

    runs: list[dict[str, object]]
    arguments: dict[str, object]
    environment: Environment
