"""The figures of a grid: the sweeps, the capacity, and the tails that means hide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, PercentFormatter

from bench.figure import MUTED, PALETTE, STYLE
from bench.grid.capacity import CURVES, THRESHOLDS, Curve, curve_grid, points_of
from bench.grid.cells import (
    BY_INTENSITY,
    BY_SHARE,
    CENTRE,
    CONTENDERS,
    CURVE_CONTENDERS,
    CURVE_REGIME,
    FCFS,
    POISSON,
    Contender,
    Load,
)
from bench.grid.results import Grid, GridResult, Metric
from bench.replay.results import RunSummary

# A scheduler has one colour in all figures; dashes keep evicted memory on the host.
_COLOURS = {"fcfs": PALETTE[0], "andes": PALETTE[1], "andes-paper": PALETTE[2]}


def plot_grid(result: GridResult, out: Path) -> list[str]:
    """Draw what there is, and return the names of the files."""
    grid, regimes = Grid(result.rows), list(result.regimes)
    titles = {name: f"{name} {facts.title}" for name, facts in result.regimes.items()}
    figures: dict[str, Callable[[], Figure]] = {
        "grid-sweeps.png": lambda: _sweeps(grid, titles),
        "grid-tails.png": lambda: _tails(grid, titles),
    }
    if CURVE_REGIME in regimes:
        figures["grid-capacity.png"] = lambda: _capacity(curve_grid(result.rows))
    with mpl.rc_context(STYLE):
        for name, draw in figures.items():
            draw().savefig(out / name, dpi=130)
    return list(figures)


def _sweeps(grid: Grid, titles: dict[str, str]) -> Figure:
    figure = Figure(figsize=(11.5, 3.3 * len(titles) + 0.7))
    panels = figure.subplots(len(titles), 2, squeeze=False, sharey=True)
    for (name, title), (left, right) in zip(titles.items(), panels, strict=True):
        for contender in CONTENDERS:
            _sweep(left, grid, name, contender, (POISSON, *BY_INTENSITY), _intensity)
            _sweep(right, grid, name, contender, BY_SHARE, _share)
        left.set(
            ylim=(0, 1.04), ylabel="mean area QoE", xlabel="burst intensity, × mean rate"
        )
        right.set(xlabel="part of the time in the burst")
        right.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        right.xaxis.set_major_locator(FixedLocator([_share(load) for load in BY_SHARE]))
        left.xaxis.set_major_locator(FixedLocator([1, 1.5, 2, 2.5]))
        left.set_title(f"{title}: bursts in {CENTRE.burst_share:.0%} of the time")
        right.set_title(f"bursts of {CENTRE.intensity:g}× the mean rate")
    ran = [c for c in CONTENDERS if any(grid.values(n, CENTRE, c, _qoe) for n in titles)]
    _legend(figure, ran)
    return figure


def _sweep(
    axes: Axes,
    grid: Grid,
    regime: str,
    contender: Contender,
    loads: Sequence[Load],
    x_of: Callable[[Load], float],
) -> None:
    """The mean over the seeds, in a band from the least to the most."""
    found = [
        (x_of(load), values)
        for load in loads
        if (values := grid.values(regime, load, contender, _qoe))
    ]
    if not found:
        return
    x = [at for at, _ in found]
    low, high = ([pick(values) for _, values in found] for pick in (min, max))
    axes.fill_between(x, low, high, color=_colour(contender), alpha=0.13, lw=0)
    axes.plot(
        x,
        [float(np.mean(values)) for _, values in found],
        color=_colour(contender),
        linestyle=_line(contender),
        linewidth=_width(contender),
        marker="o",
        markersize=3.5,
    )


def _capacity(grid: Grid) -> Figure:
    figure = Figure(figsize=(12.5, 4.4))
    panels = figure.subplots(1, len(CURVES), sharey=True)
    for curve, axes in zip(CURVES, panels, strict=True):
        for contender in CURVE_CONTENDERS:
            points = points_of(grid, curve, contender)
            x, y = [x for x, _ in points], [y for _, y in points]
            axes.plot(
                x,
                y,
                color=_colour(contender),
                linestyle=_line(contender),
                linewidth=_width(contender),
                marker="o",
                markersize=3.5,
            )
        _thresholds(axes, curve)
        axes.set_title(curve.title)
    panels[0].set(ylabel="mean area QoE", ylim=(0, 1.04))
    _legend(figure, CURVE_CONTENDERS)
    return figure


def _thresholds(axes: Axes, curve: Curve) -> None:
    for threshold in THRESHOLDS:
        axes.axhline(threshold, color=MUTED, lw=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{threshold:g}",
            (1.0, threshold),
            xycoords=("axes fraction", "data"),
            xytext=(2, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=MUTED,
        )
    axes.set_xlabel(
        "rate, in parts of what fcfs serves" if curve.by_rate else "× mean rate"
    )


def _tails(grid: Grid, titles: dict[str, str]) -> Figure:
    figure = Figure(figsize=(12.5, 2.3 * len(titles) + 0.8))
    panels = figure.subplots(len(titles), 4, squeeze=False, sharey="row")
    for (name, title), row in zip(titles.items(), panels, strict=True):
        shown = [c for c in CONTENDERS if grid.values(name, CENTRE, c, _qoe)]
        for y, contender in enumerate(shown):
            _tails_of(row, grid, name, contender, y)
        row[0].set_yticks(range(len(shown)), [contender.name for contender in shown])
        row[0].set_ylim(len(shown) - 0.4, -0.6)
        row[0].set_title(title)
        row[0].set_xlim(0, 1.02)
        for axes in row[1:3]:
            axes.set_xlim(0, 1.08 * max(axes.dataLim.x1, 1e-3))
        row[3].axvline(1.0, color=MUTED, lw=1, zorder=1)
        # Room on both sides of 1, so that a difference of 1 % looks like one.
        low, high = row[3].get_xlim()
        row[3].set_xlim(min(low, 0.9), max(high, 1.1))
    for axes, what in zip(panels[-1], _TAILS, strict=True):
        axes.set_xlabel(what)
    figure.suptitle(
        f"At {CENTRE.name}: one dot a seed, hollow for the longest stall",
        x=0.01,
        ha="left",
        fontsize=11.5,
    )
    return figure


_TAILS = ("p5 of area QoE", "TTFT p99, s", "stall p99 and longest, s", "tokens/s over fcfs")


def _tails_of(
    panels: Sequence[Axes], grid: Grid, regime: str, contender: Contender, y: int
) -> None:
    def values(metric: Metric) -> list[float]:
        return grid.values(regime, CENTRE, contender, metric)

    def dots(axes: Axes, x: Sequence[float], *, hollow: bool = False) -> None:
        face = "none" if hollow else colour
        axes.scatter(x, [y] * len(x), s=30, edgecolor=colour, facecolor=face, zorder=3)

    colour = _colour(contender)
    dots(panels[0], values(lambda s: s.p5_qoe_area))
    dots(panels[1], values(lambda s: s.ttft_s.p99))
    dots(panels[2], values(lambda s: s.stall_s.p99))
    dots(panels[2], values(lambda s: s.stall_s.max), hollow=True)
    pairs = grid.pairs(regime, [CENTRE], (contender, FCFS), lambda s: s.tokens_per_s)
    dots(panels[3], [ours / theirs for ours, theirs in pairs if theirs])


def _legend(figure: Figure, contenders: Sequence[Contender]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=_colour(contender),
            linestyle=_line(contender),
            linewidth=_width(contender),
            label=contender.name,
        )
        for contender in contenders
    ]
    figure.legend(handles=handles, loc="outside upper left", fontsize=10, ncols=6)


def _colour(contender: Contender) -> str:
    return _COLOURS.get(contender.scheduler, MUTED)


def _line(contender: Contender) -> Any:
    return (0, (4, 1.6)) if contender.resume == "offload" else "solid"


def _width(contender: Contender) -> float:
    """fcfs is drawn first and broad: who changes nothing lies upon it."""
    return 3.6 if contender == FCFS else 1.8


def _qoe(run: RunSummary) -> float:
    return run.mean_qoe_area


def _intensity(load: Load) -> float:
    return load.intensity


def _share(load: Load) -> float:
    return load.burst_share
