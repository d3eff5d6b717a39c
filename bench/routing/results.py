"""What a comparison of routers comes to, and how it is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from bench.errors import UserError
from bench.fleet.results import FleetSummary
from bench.results import Environment
from bench.routing.cells import Job

Metric = Callable[[FleetSummary], float | None]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run; `summary` leaves the single replicas out."""

    job: Job
    summary: FleetSummary
    plan_failures: int
    wall_s: float


class RoutingResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes routers` writes to `fleet.json`.

    Attributes:
        command: The command that makes it again.
        duration_s: Of the arrivals of each run.
        lengths: Name of the file that lengths were drawn from; None is lognormal.
        failed: Runs that failed, and why.
    """

    command: str
    environment: Environment
    duration_s: float
    lengths: str | None
    failed: dict[str, str]
    rows: Sequence[Row]


class Table:
    """The rows by scenario, router and seed."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._runs: dict[tuple[str, str], dict[int, FleetSummary]] = defaultdict(dict)
        for row in rows:
            self._runs[row.job.scenario, row.job.router][row.job.seed] = row.summary

    def values(self, scenario: str, router: str, metric: Metric) -> dict[int, float]:
        """The metric by seed, of those that have it."""
        runs = self._runs.get((scenario, router), {})
        found = {seed: metric(run) for seed, run in sorted(runs.items())}
        return {seed: value for seed, value in found.items() if value is not None}

    def mean(self, scenario: str, router: str, metric: Metric) -> float | None:
        """Over the seeds; None without any."""
        values = self.values(scenario, router, metric)
        return float(np.mean(list(values.values()))) if values else None

    def gains(
        self, scenario: str, of: str, over: str, metric: Metric, base: str | None = None
    ) -> list[float]:
        """What `of` has more than `over`, on each seed that both ran.

        Args:
            scenario: Where `of` ran.
            of: A router.
            over: Another.
            metric: Of both.
            base: Where `over` ran, if that was another scenario.
        """
        ours = self.values(scenario, of, metric)
        theirs = self.values(base or scenario, over, metric)
        return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def write(path: Path, result: RoutingResult) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=0))


def read(path: Path) -> RoutingResult:
    """What `write` wrote.

    Raises:
        UserError: There is no such file, or it holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=RoutingResult)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path.name} cannot be read again: {error}") from error
