"""What the runs of a grid came to, and the numbers that tables and figures ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.errors import UserError
from bench.grid.cells import SWEEP, Contender, Load
from bench.replay.results import RunSummary
from bench.results import Environment

Metric = Callable[[RunSummary], float | None]
_DIGITS = 6


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        cell: The load, as tables call it.
        rate: Mean requests/s.
        plan_failures: Steps in which the scheduler failed and left the step to vLLM.
        wall_s: Real seconds it took here.
    """

    regime: str
    cell: str
    contender: Contender
    seed: int
    load: Load
    rate: float
    plan_failures: int
    wall_s: float
    metrics: RunSummary


class RegimeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a regime was run with.

    Attributes:
        lengths: Name of the file of lengths; None where they were drawn lognormal.
        rate: What `fcfs` serves without bursts, requests/s: the mean rate of the cells.
        saturation_requests: Requests of the run that measured it.
    """

    title: str
    profile: str
    lengths: str | None
    ttft_s: float | str
    tds: str
    rate: float
    saturation_requests: int


class GridResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes grid` writes to `grid.json`.

    Attributes:
        command: The command that makes it again.
        planned: Runs there should be.
        failed: Those that failed, and why.
    """

    command: str
    arguments: dict[str, object]
    environment: Environment
    regimes: dict[str, RegimeFacts]
    planned: int
    failed: dict[str, str]
    rows: Sequence[Row]


class Grid:
    """The rows by regime, load and contender; None stands for what was not run."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._runs: dict[tuple[str, Load, Contender], dict[int, RunSummary]] = defaultdict(
            dict
        )
        for row in rows:
            self._runs[row.regime, row.load, row.contender][row.seed] = row.metrics

    def values(
        self, regime: str, load: Load, contender: Contender, metric: Metric
    ) -> list[float]:
        """The metric of each seed that has it."""
        found = (metric(run) for run in self._at(regime, load, contender).values())
        return [value for value in found if value is not None]

    def mean(
        self, regime: str, load: Load, contender: Contender, metric: Metric
    ) -> float | None:
        """Mean over the seeds."""
        return mean(self.values(regime, load, contender, metric))

    def over_sweep(
        self,
        regime: str,
        contender: Contender,
        metric: Metric,
        reduce: Callable[[Sequence[float]], float | None] | None = None,
    ) -> float | None:
        """The mean over the loads of the sweep, or what `reduce` makes of all values."""
        by_load = [self.values(regime, load, contender, metric) for load in SWEEP]
        if reduce is not None:
            return reduce([value for values in by_load for value in values])
        means = [mean(values) for values in by_load]
        return mean([value for value in means if value is not None])

    def pairs(
        self,
        regime: str,
        loads: Iterable[Load],
        of: tuple[Contender, Contender],
        metric: Metric,
    ) -> list[tuple[float, float]]:
        """The metric of both contenders wherever both ran the same load and seed."""
        found = []
        for load in loads:
            ours, theirs = (self._at(regime, load, contender) for contender in of)
            for seed in sorted(ours.keys() & theirs.keys()):
                pair = metric(ours[seed]), metric(theirs[seed])
                if pair[0] is not None and pair[1] is not None:
                    found.append((pair[0], pair[1]))
        return found

    def ratio(
        self,
        regime: str,
        of: tuple[Contender, Contender],
        metric: Metric,
        loads: Iterable[Load] = SWEEP,
    ) -> float | None:
        """Mean of the first over mean of the second, on what both ran."""
        pairs = self.pairs(regime, loads, of, metric)
        if not pairs:
            return None
        ours, theirs = np.mean(pairs, axis=0)
        return float(ours / theirs) if theirs else None

    def _at(
        self, regime: str, load: Load, contender: Contender
    ) -> Mapping[int, RunSummary]:
        return self._runs.get((regime, load, contender), {})


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return float(np.mean(values)) if values else None


def largest(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return max(values, default=None)


def write_grid(path: Path, result: GridResult) -> None:
    """As JSON, one run a line, every number to six digits."""
    head = msgspec.to_builtins(msgspec.structs.replace(result, rows=[]))
    del head["rows"]
    lines = ",\n".join(
        "    " + msgspec.json.encode(_rounded(msgspec.to_builtins(row))).decode()
        for row in result.rows
    )
    text = msgspec.json.format(msgspec.json.encode(_rounded(head))).decode()
    path.write_text(
        text.removesuffix("\n}") + f',\n  "rows": [\n{lines}\n  ]\n}}\n', encoding="utf-8"
    )


def read_grid(path: Path) -> GridResult:
    """What `write_grid` wrote.

    Raises:
        UserError: There is no such file, or it is another.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=GridResult)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}.") from error
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: not a result of andes grid ({error}).") from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
