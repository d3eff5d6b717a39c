"""The numbers that pages ask for: of a contender on a load, by seed, and against others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.scores import Quality
from evidence.policy.jobs import ANDES, BASELINES, FCFS, Contender, Load
from evidence.policy.results import BoundRow, Rate, Row, Run

BySeed = dict[int, float]


class Table:
    """Rows by load and contender; what was not run is empty, or None.

    Attributes:
        rates: What `fcfs` serves of each family.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rates: dict[str, Rate] = {}
        self._bounds: dict[Load, BySeed] = defaultdict(dict)
        self._runs: dict[tuple[Load, Contender], dict[int, Run]] = defaultdict(dict)
        for row in rows:
            if isinstance(row, Run):
                self._runs[row.job.load, row.job.contender][row.job.seed] = row
            elif isinstance(row, BoundRow):
                self._bounds[row.job.load][row.job.seed] = row.share
            else:
                self.rates[row.job.family] = row

    def runs(self, load: Load, contender: Contender) -> Mapping[int, Run]:
        """By seed."""
        return self._runs.get((load, contender), {})

    def bounds(self, load: Load) -> BySeed:
        """By seed."""
        return self._bounds.get(load, {})

    def all_runs(self) -> list[Run]:
        """In the order of the file, by load and contender."""
        return [run for runs in self._runs.values() for run in runs.values()]


@dataclass(frozen=True, slots=True)
class Column:
    """One number of a run.

    Attributes:
        by_seed: Of a contender on a load.
        is_cost: Less is better.
        same: Smaller differences are read as none.
    """

    title: str
    by_seed: Callable[[Table, Load, Contender], BySeed]
    digits: int = 3
    is_cost: bool = False
    same: float = 0.0005

    def mean(self, table: Table, load: Load, contender: Contender) -> float | None:
        """Over the seeds that have it."""
        return mean(self.by_seed(table, load, contender).values())

    def over(
        self, table: Table, loads: Iterable[Load], contender: Contender
    ) -> float | None:
        """The mean over loads of the means over their seeds; None unless all have one."""
        means = [self.mean(table, load, contender) for load in loads]
        return None if None in means else mean(m for m in means if m is not None)

    def pairs(
        self, table: Table, load: Load, of: tuple[Contender, Contender]
    ) -> dict[int, tuple[float, float]]:
        """Of two contenders, by the seeds that both have."""
        ours, theirs = (self.by_seed(table, load, contender) for contender in of)
        return {seed: (ours[seed], theirs[seed]) for seed in ours.keys() & theirs.keys()}


def _quality(title: str, of: Callable[[Quality], float | None], **more: object) -> Column:
    def by_seed(table: Table, load: Load, contender: Contender) -> BySeed:
        found = {s: of(run.quality) for s, run in table.runs(load, contender).items()}
        return {seed: value for seed, value in found.items() if value is not None}

    return Column(title, by_seed, **more)  # type: ignore[arg-type]


def _seconds(title: str, of: Callable[[Quality], float | None]) -> Column:
    return _quality(title, of, digits=2, is_cost=True, same=0.005)


def _of_bound(table: Table, load: Load, contender: Contender) -> BySeed:
    shares, bounds = NEVER_LATE.by_seed(table, load, contender), table.bounds(load)
    return {s: shares[s] / bounds[s] for s in shares.keys() & bounds.keys() if bounds[s]}


def _over_fcfs(table: Table, load: Load, contender: Contender) -> BySeed:
    ours, theirs = table.runs(load, contender), table.runs(load, FCFS)
    return {
        seed: ours[seed].quality.tokens_per_s / theirs[seed].quality.tokens_per_s
        for seed in ours.keys() & theirs.keys()
        if theirs[seed].quality.tokens_per_s
    }


def _preemptions(table: Table, load: Load, contender: Contender) -> BySeed:
    runs = table.runs(load, contender)
    return {seed: run.preemptions_per_request for seed, run in runs.items()}


AREA = _quality("mean area", lambda q: q.mean_qoe_area)
P5 = _quality("p5 area", lambda q: q.p5_qoe_area)
SHARE = _quality("share ≥ 0.95", lambda q: q.share_qoe_area_ge_0_95)
NEVER_LATE = _quality("never late", lambda q: q.share_never_late)
OF_BOUND = Column("of the bound", _of_bound)
DELAY = _quality("mean delay", lambda q: q.mean_qoe_delay)
TTFT_P50 = _seconds("TTFT p50, s", lambda q: q.ttft_s.p50)
TTFT_P99 = _seconds("TTFT p99, s", lambda q: q.ttft_s.p99)
STALL_MEAN = _seconds("stall mean, s", lambda q: q.stall_s.mean)
STALL_P99 = _seconds("stall p99, s", lambda q: q.stall_s.p99)
TOKENS = Column("tokens/s / fcfs", _over_fcfs)
PREEMPTIONS = Column("preemptions/request", _preemptions, digits=2, is_cost=True)
# What a policy is judged by, as the headline has it.
COLUMNS = (
    AREA,
    P5,
    SHARE,
    NEVER_LATE,
    OF_BOUND,
    DELAY,
    TTFT_P50,
    TTFT_P99,
    STALL_MEAN,
    STALL_P99,
    TOKENS,
    PREEMPTIONS,
)
READERS = (AREA, P5, SHARE, NEVER_LATE, DELAY, TTFT_P99, STALL_P99)


class AgainstBaseline(NamedTuple):
    """Andes beside the baseline that is best in one number on one load."""

    load: Load
    mode: str
    column: Column
    ours: float
    theirs: float
    who: str

    @property
    def gain(self) -> float:
        """How far Andes is ahead; negative where it is behind."""
        ahead = self.ours - self.theirs
        return -ahead if self.column.is_cost else ahead


def against(
    table: Table, load: Load, mode: str, column: Column, other: Contender
) -> AgainstBaseline | None:
    """Andes beside one contender, over the seeds that both have."""
    pairs = column.pairs(table, load, (ANDES[mode], other))
    if not pairs:
        return None
    ours, theirs = map(float, np.mean(list(pairs.values()), axis=0))
    return AgainstBaseline(load, mode, column, ours, theirs, other.name)


def best_baseline(
    table: Table, load: Load, mode: str, column: Column
) -> AgainstBaseline | None:
    """Andes beside the best of all baselines."""
    others = (against(table, load, mode, column, other) for other in BASELINES[mode])
    return min((o for o in others if o is not None), key=lambda o: o.gain, default=None)


def mean(values: Iterable[float]) -> float | None:
    """None of nothing."""
    found = list(values)
    return float(np.mean(found)) if found else None
