"""One figure of a replay: what arrived, who was happy when, and who was happy at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.figure import MUTED, STYLE, cdf, colours, mark
from bench.fleet.results import ScaleStep
from bench.load import BurstShape
from bench.scores import GOOD_QOE, Scores
from qoe.metrics import Floats

Runs = Mapping[str, Scores]
# By the same labels.
Replicas = Mapping[str, Sequence[ScaleStep]]

_BURST = "#f6e7c8"
_MAX_BINS = 80
# Fewer streams than this in a bin make a mean that only shows luck.
_STREAMS_PER_BIN = 12
# Longer labels get a line each.
_LEGEND_CHARS = 24


def plot_replays(
    runs: Runs,
    path: Path,
    bursts: BurstShape | None = None,
    replicas: Replicas | None = None,
) -> None:
    """Draw the runs of one load over one another; the suffix of `path` picks the format.

    Args:
        runs: Scores by scheduler, all of the same streams.
        path: Where the figure goes.
        bursts: When a synthetic load was in a burst; None shades nothing.
        replicas: Of the runs that an autoscaler changed; they get a panel of their own.

    Raises:
        ValueError: There is no run.
    """
    if not runs:
        raise ValueError("there is no run to draw")
    with mpl.rc_context(STYLE):
        heights = [1.0, *([1.2] if replicas else []), 2.0, 2.4]
        figure = Figure(figsize=(11.5, 9.0 if not replicas else 10.8))
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
        arrivals, *above, over_time = _timed_panels(figure, grid, len(heights) - 1)
        _plot_arrivals(arrivals, runs)
        for axes in above:
            _plot_replicas(axes, runs, replicas or {})
        _plot_over_time(over_time, runs)
        for axes in (arrivals, *above, over_time):
            _shade(axes, bursts, _span_s(runs))
        _plot_area(figure.add_subplot(grid[-1, 0]), runs)
        _plot_ttft(figure.add_subplot(grid[-1, 1]), runs)
        _add_legend(figure, runs, has_bursts=bursts is not None and bursts.intensity > 1)
        figure.savefig(path, dpi=150)


def _timed_panels(figure: Figure, grid: GridSpec, count: int) -> list[Axes]:
    """Panels over one axis of time; the last one names it."""
    panels = [figure.add_subplot(grid[0, :])]
    for row in range(1, count):
        panels.append(figure.add_subplot(grid[row, :], sharex=panels[0]))
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    return panels


def _plot_replicas(axes: Axes, runs: Runs, replicas: Replicas) -> None:
    span_s = _span_s(runs)
    for label, colour in colours(runs).items():
        steps = [step for step in replicas.get(label, ()) if step.at_s <= span_s]
        if not steps:
            continue
        times_s = [*(step.at_s for step in steps), span_s]
        held = [s.starting + s.serving + s.leaving for s in steps]
        serving = [s.serving for s in steps]
        axes.stairs(held, times_s, baseline=None, color=colour, linewidth=1, alpha=0.5)
        axes.stairs(serving, times_s, baseline=None, color=colour)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(ylim=(0, None), ylabel="replicas")
    axes.set_title("Fleet: replicas that serve (strong), and that hold GPUs (faint)")


def _plot_arrivals(axes: Axes, runs: Runs) -> None:
    edges_s, arrivals_s = _edges_s(runs), _any(runs).arrival_s
    counts, _ = np.histogram(arrivals_s, edges_s)
    axes.stairs(counts / np.diff(edges_s), edges_s, color=MUTED, fill=True, alpha=0.75)
    axes.set(xlim=(0, _span_s(runs)), ylim=(0, None), ylabel="streams/s")
    axes.set_title("Load: streams that arrive")


def _plot_over_time(axes: Axes, runs: Runs) -> None:
    edges_s = _edges_s(runs)
    for label, colour in colours(runs).items():
        scores = runs[label]
        counts, _ = np.histogram(scores.arrival_s, edges_s)
        sums, _ = np.histogram(scores.arrival_s, edges_s, weights=scores.area)
        means = np.full(counts.size, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        axes.plot((edges_s[:-1] + edges_s[1:]) / 2, means, color=colour)
    axes.set(ylim=(0, 1.04), xlabel="time of arrival, s", ylabel="mean area QoE")
    axes.set_title("Experience: readers who came then")


def _plot_area(axes: Axes, runs: Runs) -> None:
    for label, colour in colours(runs).items():
        cdf(axes, runs[label].area, len(runs[label]), colour)
    mark(axes, GOOD_QOE, "0.95")
    axes.set(xlim=(0, 1.01), xlabel="area QoE of a stream")
    axes.set_title("Everyone: streams with at most this QoE")


def _plot_ttft(axes: Axes, runs: Runs) -> None:
    for label, colour in colours(runs).items():
        first_s = runs[label].ttft_s
        cdf(axes, first_s[~np.isnan(first_s)], first_s.size, colour)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("time to first token, s (log)")
    axes.set_title("Patience: streams that had begun by then")


def _add_legend(figure: Figure, runs: Runs, *, has_bursts: bool) -> None:
    handles: list[Line2D | Patch] = [
        Line2D(
            [],
            [],
            color=colour,
            linewidth=5,
            label=f"{label}   mean QoE {runs[label].area.mean():.2f}",
        )
        for label, colour in colours(runs).items()
    ]
    if has_bursts:
        handles.append(Patch(color=_BURST, label="burst"))
    # An autoscaler is named with its settings.
    longest = max(len(label) for label in runs)
    ncols = 4 if longest <= _LEGEND_CHARS else 1
    figure.legend(handles=handles, loc="outside upper left", fontsize=11, ncols=ncols)


def _shade(axes: Axes, bursts: BurstShape | None, span_s: float) -> None:
    if bursts is None or bursts.intensity <= 1:
        return
    calm_s = bursts.cycle_s * (1 - bursts.burst_share) / 2
    for cycle in range(math.ceil(span_s / bursts.cycle_s)):
        start_s = cycle * bursts.cycle_s
        begin_s = start_s + calm_s
        if begin_s < span_s:
            end_s = min(start_s + bursts.cycle_s - calm_s, span_s)
            axes.axvspan(begin_s, end_s, color=_BURST, lw=0, zorder=0)


def _any(runs: Runs) -> Scores:
    """Runs that are compared have the same load."""
    return next(iter(runs.values()))


def _span_s(runs: Runs) -> float:
    return max(float(_any(runs).arrival_s[-1]), 1e-3)


def _edges_s(runs: Runs) -> Floats:
    num_bins = min(max(len(_any(runs)) // _STREAMS_PER_BIN, 1), _MAX_BINS)
    return np.linspace(0.0, _span_s(runs), num_bins + 1)
