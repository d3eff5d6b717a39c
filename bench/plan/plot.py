"""QoE against replicas for each contender, with the line it has to reach."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.figure import MUTED, STYLE, colours
from bench.plan.results import PlanResult
from bench.plan.targets import WORDS, Target


def plot_plan(result: PlanResult, path: Path) -> None:
    """Draw one panel for each target; the suffix of `path` picks the format."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6 * len(result.targets), 4.6))
        panels = figure.subplots(1, len(result.targets), squeeze=False)[0]
        for axes, target in zip(panels, result.targets, strict=True):
            _plot_target(axes, result, target)
        panels[0].legend(loc="lower right")
        figure.savefig(path, dpi=150)


def _plot_target(axes: Axes, result: PlanResult, target: Target) -> None:
    colour_of = colours(outcome.contender.label for outcome in result.outcomes)
    for outcome in result.outcomes:
        label = outcome.contender.label
        numbers = [probe.replicas for probe in outcome.probes]
        values = [target.value(probe.quality) for probe in outcome.probes]
        axes.plot(numbers, values, color=colour_of[label], marker="o", label=label)
        if outcome.chosen is not None:
            at = (outcome.chosen.replicas, target.value(outcome.chosen.quality))
            axes.plot(*at, color=colour_of[label], marker="o", markersize=12, alpha=0.35)
    axes.axhline(target.at_least, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(ylim=(0, 1.04), xlabel="replicas", ylabel=WORDS[target.metric])
    axes.set_title(f"Asked for: {target.label}")
