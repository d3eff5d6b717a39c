"""What a comparison of the ways to a client comes to. No vLLM, no Ray here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bench.results import Environment, Summary


class Way(msgspec.Struct, frozen=True):
    """How tokens travel, and who chooses the replica."""

    streaming: str
    router: str

    @property
    def label(self) -> str:
        return f"{self.streaming}, {self.router}"

    @property
    def overrides(self) -> dict[str, Any]:
        """As `args` of a Serve config."""
        return {"streaming": self.streaming, "router": self.router}


WAYS = (
    Way("direct", "qoe"),
    Way("direct", "round_robin"),
    Way("handle", "qoe"),
    Way("handle", "round_robin"),
)


class WayRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one way; runs of a round followed one another.

    Attributes:
        cpu_s: Of the service's processes while the load ran, by what they do.
    """

    way: Way
    round: int
    summary: Summary
    cpu_s: Mapping[str, float]

    @property
    def tokens(self) -> float:
        """Delivered in all."""
        return self.summary.tokens_per_s * self.summary.makespan_s

    def cpu_s_per_1000(self, *, engine: bool) -> float:
        """CPU seconds for 1,000 tokens, of the engines or of all that is around them."""
        used_s = sum(s for role, s in self.cpu_s.items() if (role == "engine") is engine)
        return used_s / max(self.tokens, 1.0) * 1000.0


class PathsResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes paths` writes to `paths.json`.

    Attributes:
        command: The command that makes it again.
        load: What was sent, in one sentence.
        runs: In the order in which they were made.
    """

    command: str
    load: str
    environment: Environment
    runs: Sequence[WayRun]

    def values(self, way: Way, metric: Callable[[WayRun], float]) -> list[float]:
        """The metric of each run of a way, by round."""
        return [metric(run) for run in self.runs if run.way == way]
