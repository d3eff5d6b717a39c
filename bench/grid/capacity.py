"""How much load a scheduler carries before the mean reader is let down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.grid.cells import (
    BY_INTENSITY_FULL,
    BY_INTENSITY_SPARE,
    BY_RATE,
    CURVE_REGIME,
    CURVE_SEEDS,
    SPARE_RATE_SHARE,
    Contender,
    Load,
)
from bench.grid.results import Grid, Row

THRESHOLDS = (0.9, 0.95)
# Share of the rate or intensity, and the mean area QoE there.
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """Loads that differ in one quantity."""

    title: str
    loads: Sequence[Load]
    by_rate: bool = False

    def x(self, load: Load) -> float:
        """The quantity."""
        return load.rate_share if self.by_rate else load.intensity


CURVES = (
    Curve("mean rate, Poisson", BY_RATE, by_rate=True),
    Curve("burst intensity at the full rate", BY_INTENSITY_FULL),
    Curve(f"burst intensity at {SPARE_RATE_SHARE:g} of the rate", BY_INTENSITY_SPARE),
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most load with a QoE of at least some threshold.

    Attributes:
        most: None where no load holds.
        is_beyond: Every load that was tried holds: it may be more.
    """

    most: float | None
    is_beyond: bool = False

    def __str__(self) -> str:
        if self.most is None:
            return "none"
        return f"≥ {self.most:.2f}" if self.is_beyond else f"{self.most:.2f}"

    def over(self, other: Capacity) -> str:
        """How many times the other's capacity; a dash where that is no number."""
        if self.most is None or other.most is None or other.is_beyond:
            return "–"
        return f"{'≥ ' if self.is_beyond else ''}{self.most / other.most:.2f}×"


def capacity(points: Points, threshold: float) -> Capacity:
    """Between the last point that holds and the first that does not, on a straight line.

    Args:
        points: In order of load.
        threshold: The least QoE that holds.

    Raises:
        ValueError: There is no point.
    """
    if not points:
        raise ValueError("a curve without points has no capacity")
    if points[0][1] < threshold:
        return Capacity(None)
    for (x, y), (next_x, next_y) in pairwise(points):
        if next_y < threshold:
            return Capacity(x + (next_x - x) * (y - threshold) / (y - next_y))
    return Capacity(points[-1][0], is_beyond=True)


def curve_grid(rows: Iterable[Row]) -> Grid:
    """The rows that curves are made of: all their points have the same seeds."""
    return Grid(row for row in rows if row.seed < CURVE_SEEDS)


def points_of(grid: Grid, curve: Curve, contender: Contender) -> list[tuple[float, float]]:
    """Points of one contender, without the loads that were not run."""
    means = (
        (curve.x(load), grid.mean(CURVE_REGIME, load, contender, lambda s: s.mean_qoe_area))
        for load in curve.loads
    )
    return [(x, y) for x, y in means if y is not None]
