"""What a replay comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from bench.results import Environment
from bench.scores import Quality, Scores

# Streams that have ended or were refused, and all of them.
OnProgress = Callable[[int, int], None]


class PlanMs(msgspec.Struct, frozen=True):
    """Real milliseconds of a plan, over the steps with one; None where vLLM decides."""

    p50: float | None
    p99: float | None


class RunSummary(Quality, frozen=True, kw_only=True):
    """One run in numbers.

    Attributes:
        preemptions_per_request: Times that a stream lost its KV memory.
        peak_waiting: Most streams that waited for memory after any step.
        plan_ms: The only number that the machine decides.
        refused: Streams too large for the engine; in `requests`, with QoE 0.
        makespan_s: From the start of the load to the last token.
    """

    preemptions_per_request: float
    peak_waiting: int
    plan_ms: PlanMs
    refused: int
    makespan_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one cell.

    Attributes:
        plan_failures: Steps in which the scheduler failed and left the step to vLLM.
    """

    scheduler: str
    summary: RunSummary
    scores: Scores
    plan_failures: int

    def row(self) -> dict[str, object]:
        """The run as JSON has it."""
        return {"scheduler": self.scheduler, **msgspec.to_builtins(self.summary)}


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes replay --json` writes: a row for each run."""

    runs: list[dict[str, object]]
    arguments: dict[str, object]
    environment: Environment
