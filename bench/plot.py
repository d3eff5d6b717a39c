"""One figure of one or several runs: who was happy, who waited, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from bench.figure import INK, MUTED, STYLE, cdf, colours, mark
from bench.results import CANCELLED, Stream
from bench.scores import GOOD_QOE
from qoe import area_qoe
from qoe.metrics import Floats, digestion_starts

Runs = Mapping[str, Sequence[Stream]]


def plot_runs(runs: Runs, path: Path) -> None:
    """Draw labelled runs over one another; the suffix of `path` picks the format.

    Each run keeps its colour in all four panels. What readers expect is drawn once, from
    the first run: runs that are compared have the same load. Cancelled streams are left
    out, failed ones are drawn with what they delivered.

    Raises:
        ValueError: There is no run, or one has no stream that ended.
    """
    ended = {
        label: [stream for stream in streams if stream.error != CANCELLED]
        for label, streams in runs.items()
    }
    if not ended or not all(ended.values()):
        raise ValueError("every run needs a stream that ended")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 8.0))
        (qoe_axes, ttft_axes), (delivery_axes, live_axes) = figure.subplots(2, 2)
        _plot_qoe(qoe_axes, ended)
        _plot_ttft(ttft_axes, ended)
        _plot_delivery(delivery_axes, ended)
        _plot_live(live_axes, ended)
        _add_legend(figure, ended)
        figure.savefig(path, dpi=150)


def _add_legend(figure: Figure, runs: Runs) -> None:
    handles = []
    for label, colour in colours(runs).items():
        scores = _area_qoes(runs[label])
        text = f"{label}   mean QoE {scores.mean():.2f} · {scores.size:,} streams"
        handles.append(Line2D([], [], color=colour, linewidth=5, label=text))
    figure.legend(handles=handles, loc="outside upper left", fontsize=11, ncols=2)


def _plot_qoe(axes: Axes, runs: Runs) -> None:
    for label, colour in colours(runs).items():
        cdf(axes, _area_qoes(runs[label]), len(runs[label]), colour)
    mark(axes, GOOD_QOE, "0.95")
    axes.set(xlim=(0, 1.01), xlabel="area QoE of a stream")
    axes.set_title("Experience: streams with at most this QoE")


def _plot_ttft(axes: Axes, runs: Runs) -> None:
    for label, colour in colours(runs).items():
        first_s = [s.delivered_at_s[0] for s in runs[label] if s.delivered_at_s]
        cdf(axes, np.array(first_s), len(runs[label]), colour)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    mark(axes, _median_expected_ttft_s(runs), "expected")
    axes.set_xlabel("time to first token, s (log)")
    axes.set_title("Patience: streams that had begun by then")


def _plot_delivery(axes: Axes, runs: Runs) -> None:
    load = next(iter(runs.values()))
    axes.plot(*_cumulative(load, _expected_at_s), color=INK, linestyle=":", zorder=3)
    for label, colour in colours(runs).items():
        delivered = _cumulative(runs[label], lambda s: np.asarray(s.delivered_at_s))
        axes.plot(*delivered, color=colour, linewidth=1.2, alpha=0.45)
        axes.plot(*_cumulative(runs[label], _read_at_s), color=colour)
    axes.legend(
        handles=[
            Line2D([], [], color=INK, linestyle=":", label="readers expect"),
            Line2D([], [], color=MUTED, label="readers have read"),
            Line2D([], [], color=MUTED, linewidth=1.2, alpha=0.45, label="delivered"),
        ],
        loc="lower right",
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.set(xlim=(0, _mostly_read_s(runs)), ylim=(0, None))
    axes.set(xlabel="time, s", ylabel="tokens, all streams")
    axes.set_title("Delivery: tokens so far")


def _plot_live(axes: Axes, runs: Runs) -> None:
    for label, colour in colours(runs).items():
        streams = runs[label]
        axes.plot(*_level(streams, _finished_s), color=colour, drawstyle="steps-post")
        times_s, waiting = _level(streams, _began_s)
        axes.fill_between(times_s, waiting, step="post", color=colour, alpha=0.25, lw=0)
    axes.legend(
        handles=[
            Line2D([], [], color=MUTED, label="live"),
            Line2D([], [], color=MUTED, alpha=0.35, linewidth=7, label="no token yet"),
        ],
        loc="upper right",
    )
    axes.set(xlim=(0, None), ylim=(0, None), xlabel="time, s", ylabel="streams")
    axes.set_title("Load: streams in the system")


def _area_qoes(streams: Sequence[Stream]) -> Floats:
    return np.array([area_qoe(s.delivered_at_s, s.expectation) for s in streams])


def _median_expected_ttft_s(runs: Runs) -> float:
    return float(np.median([s.ttft_s for streams in runs.values() for s in streams]))


def _expected_at_s(stream: Stream) -> Floats:
    return stream.ttft_s + np.arange(stream.output_tokens) / stream.tds


def _read_at_s(stream: Stream) -> Floats:
    return digestion_starts(np.asarray(stream.delivered_at_s), stream.tds)


def _mostly_read_s(runs: Runs) -> float | None:
    """When every run has 98 % of its tokens read; the last long answers only add width."""
    ends_s = [
        np.percentile(times_s, 98)
        for times_s, _ in (_cumulative(streams, _read_at_s) for streams in runs.values())
        if times_s.size
    ]
    return float(max(ends_s)) if ends_s else None


def _cumulative(
    streams: Sequence[Stream], times_of: Callable[[Stream], Floats]
) -> tuple[Floats, Floats]:
    """Number of tokens with a time so far: (seconds from the start of the run, tokens)."""
    times_s = np.sort(np.concatenate([s.arrival_s + times_of(s) for s in streams]))
    return times_s, np.arange(1, times_s.size + 1, dtype=np.float64)


def _finished_s(stream: Stream) -> float:
    return stream.delivered_at_s[-1] if stream.delivered_at_s else 0.0


def _began_s(stream: Stream) -> float:
    return stream.delivered_at_s[0] if stream.delivered_at_s else 0.0


def _level(
    streams: Sequence[Stream], length_s: Callable[[Stream], float]
) -> tuple[Floats, Floats]:
    """How many streams have arrived less than `length_s` ago, at each change."""
    arrivals_s = np.array([s.arrival_s for s in streams])
    ends_s = arrivals_s + np.array([length_s(s) for s in streams])
    times_s = np.concatenate([arrivals_s, ends_s])
    steps = np.repeat([1.0, -1.0], len(streams))
    order = np.argsort(times_s, kind="stable")
    return times_s[order], np.cumsum(steps[order])
