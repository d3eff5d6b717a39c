"""One figure of a replay: what arrived, who was happy when, and who was happy at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from bench.figure import MUTED, STYLE, cdf, colours, mark
from bench.load import BurstShape
from bench.scores import GOOD_QOE, Scores
from qoe.metrics import Floats

Runs = Mapping[str, Scores]

_BURST = "#f6e7c8"
_MAX_BINS = 80
# Fewer streams than this in a bin make a mean that only shows luck.
_STREAMS_PER_BIN = 12


def plot_replays(runs: Runs, path: Path, bursts: BurstShape | None = None) -> None:
    """Draw the runs of one load over one another; the suffix of `path` picks the format.

    Args:
        runs: Scores by scheduler, all of the same streams.
        path: Where the figure goes.
        bursts: When a synthetic load was in a burst; None shades nothing.

    Raises:
        ValueError: There is no run.
    """
    if not runs:
        raise ValueError("there is no run to draw")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 9.0))
        grid = figure.add_gridspec(3, 2, height_ratios=(1.0, 2.0, 2.4))
        arrivals = figure.add_subplot(grid[0, :])
        over_time = figure.add_subplot(grid[1, :], sharex=arrivals)
        _plot_arrivals(arrivals, runs)
        _plot_over_time(over_time, runs)
        for axes in (arrivals, over_time):
            _shade(axes, bursts, _span_s(runs))
        arrivals.tick_params(labelbottom=False)
        _plot_area(figure.add_subplot(grid[2, 0]), runs)
        _plot_ttft(figure.add_subplot(grid[2, 1]), runs)
        _add_legend(figure, runs, has_bursts=bursts is not None and bursts.intensity > 1)
        figure.savefig(path, dpi=150)


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
    figure.legend(handles=handles, loc="outside upper left", fontsize=11, ncols=4)


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
