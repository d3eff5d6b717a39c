"""What was meant to be reached, and whether these runs reach it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.grid.cells import (
    ANDES,
    ANDES_OFFLOAD,
    CELLS,
    FCFS,
    PAPER,
    PAPER_OFFLOAD,
    Contender,
)
from bench.grid.results import Grid, Metric

Pair = tuple[Contender, Contender]

MIN_OVER_FCFS = {"A": 2.0, "B": 1.4, "C": 2.0}
MIN_OVER_PAPER = {"A": 1.1, "C": 1.1}
MIN_TOKENS = {ANDES: 0.96, ANDES_OFFLOAD: 0.98}
# Smaller differences are read as the same: of QoE, and of seconds.
_SAME_QOE = 0.0005
_SAME_S = 0.005


@dataclass(frozen=True, slots=True)
class Target:
    """One promise, and what was measured."""

    what: str
    least: float
    measured: float

    @property
    def is_reached(self) -> bool:
        """Decided by the numbers alone."""
        return self.measured >= self.least


@dataclass(frozen=True, slots=True)
class Loss:
    """A cell where Andes is worse than another."""

    regime: str
    cell: str
    what: str
    ours: float
    theirs: float
    than: str

    def __str__(self) -> str:
        return (
            f"{self.regime}, {self.cell}: {self.what} {self.ours:.3f}, "
            f"{self.than} {self.theirs:.3f}"
        )


def targets(grid: Grid, regimes: Sequence[str]) -> list[Target]:
    """Every target that these runs can tell of, as ratios of means over the sweep."""
    found = []
    for what, least, measured in _ratios(grid, regimes):
        if measured is not None:
            found.append(Target(what, least, measured))
    return found


def _ratios(
    grid: Grid, regimes: Sequence[str]
) -> Iterator[tuple[str, float, float | None]]:
    for minima, pair in (
        (MIN_OVER_FCFS, (ANDES, FCFS)),
        (MIN_OVER_PAPER, (ANDES, PAPER)),
    ):
        for name in regimes:
            if name in minima:
                what = f"{name}: area QoE, {pair[0].name} / {pair[1].name}"
                ratio = grid.ratio(name, pair, lambda s: s.mean_qoe_area)
                yield what, minima[name], ratio
    for contender, least in MIN_TOKENS.items():
        for name in regimes:
            ratio = grid.ratio(name, (contender, FCFS), lambda s: s.tokens_per_s)
            yield f"{name}: tokens/s, {contender.name} / fcfs", least, ratio


def lost_means(grid: Grid, regimes: Sequence[str]) -> list[Loss]:
    """Cells in which Andes's mean area QoE is below that of `fcfs` or of the paper."""
    pairs = (
        (ANDES, FCFS),
        (ANDES, PAPER),
        (ANDES_OFFLOAD, FCFS),
        (ANDES_OFFLOAD, PAPER_OFFLOAD),
    )
    return [
        loss
        for name in regimes
        for pair in pairs
        for loss in _losses(grid, name, pair, "mean area QoE", lambda s: s.mean_qoe_area)
    ]


def lost_tails(grid: Grid, regimes: Sequence[str]) -> list[Loss]:
    """Cells in which the worst served are worse off than with `fcfs`."""
    found: list[Loss] = []
    for name in regimes:
        for ours in (ANDES, ANDES_OFFLOAD):
            pair = (ours, FCFS)
            found += _losses(grid, name, pair, "p5 area QoE", lambda s: s.p5_qoe_area)
            found += _longer_stalls(grid, name, pair)
    return found


def _losses(
    grid: Grid, regime: str, pair: Pair, what: str, metric: Metric
) -> Iterator[Loss]:
    for load in CELLS:
        values = grid.pairs(regime, [load], pair, metric)
        if not values:
            continue
        ours, theirs = map(float, np.mean(values, axis=0))
        if ours < theirs - _SAME_QOE:
            label = f"{what} of {pair[0].name}"
            yield Loss(regime, load.name, label, ours, theirs, pair[1].name)


def _longer_stalls(grid: Grid, regime: str, pair: Pair) -> Iterator[Loss]:
    for load in CELLS:
        values = grid.pairs(regime, [load], pair, lambda s: s.stall_s.max)
        if not values:
            continue
        ours, theirs = map(float, np.max(values, axis=0))
        if ours > theirs + _SAME_S:
            label = f"longest stall in s of {pair[0].name}"
            yield Loss(regime, load.name, label, ours, theirs, pair[1].name)
