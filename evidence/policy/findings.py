"""What is read off the runs: losses, what each part is worth, runs that are the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from evidence.policy.jobs import ANDES, MODES, Contender, Load
from evidence.policy.results import Run
from evidence.policy.table import READERS, AgainstBaseline, Column, Table, best_baseline


class Worth(NamedTuple):
    """A difference between two contenders, paired by seed.

    Attributes:
        mean: Over the seeds; the loads of a seed are averaged first.
        error: Standard error of that mean; None of one seed.
    """

    mean: float
    error: float | None

    def __str__(self) -> str:
        spread = "" if self.error is None else f" ± {self.error:.3f}"
        return f"{self.mean:+.3f}{spread}"

    @property
    def shows(self) -> bool:
        """Whether it is more than twice its error from none."""
        return self.error is not None and abs(self.mean) > max(2 * self.error, 0.0005)


def losses(table: Table, loads: Iterable[Load]) -> list[AgainstBaseline]:
    """Wherever a baseline is better for readers than Andes, load by load."""
    return [
        standing
        for load in loads
        for mode in MODES
        for column in READERS
        if (standing := best_baseline(table, load, mode, column)) is not None
        and standing.gain < -column.same
    ]


def worth(
    table: Table, loads: Sequence[Load], mode: str, without: Contender, column: Column
) -> Worth | None:
    """What Andes has more than without a part, over the seeds that all loads have."""
    pairs = [column.pairs(table, load, (ANDES[mode], without)) for load in loads]
    seeds = set.intersection(*(set(p) for p in pairs)) if pairs else set()
    if not seeds:
        return None
    each = [np.mean([p[seed][0] - p[seed][1] for p in pairs]) for seed in sorted(seeds)]
    error = float(np.std(each, ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None
    return Worth(float(np.mean(each)), error)


def same_runs(runs: Iterable[Run]) -> list[str]:
    """A sentence for any contenders that were one run under several names."""
    by_digest: dict[tuple[Load, int, str], list[str]] = defaultdict(list)
    for run in runs:
        name = f"{run.job.contender.name} ({run.job.contender.resume})"
        by_digest[run.job.load, run.job.seed, run.digest].append(name)
    where: dict[tuple[str, ...], Counter[Load]] = defaultdict(Counter)
    for (load, _, _), names in by_digest.items():
        if len(names) > 1:
            where[tuple(sorted(names))][load] += 1
    return [
        f"{', '.join(names[:-1])} and {names[-1]} are the same run on "
        + ", ".join(
            f"{load.family} {load.shape} ({count} seed{'s' if count > 1 else ''})"
            for load, count in sorted(loads.items())
        )
        + "."
        for names, loads in sorted(where.items())
    ]
