"""Every seed of every router: means alone would hide how much chance there is."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figure import INK, PALETTE, STYLE
from bench.routing.cells import BASELINES, BY_NAME, QOE
from bench.routing.page import COLUMNS
from bench.routing.results import Metric, RoutingResult, Table

PANELS = ("equal", "mixed speeds", "one slow", "overload")
METRICS = ("p5 QoE", "QoE ≥ 0.95")


def plot(result: RoutingResult, out: Path) -> None:
    """Draw what there is of the scenarios with all baselines."""
    table = Table(result.rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 6.2))
        panels = figure.subplots(len(METRICS), len(PANELS), sharey="row", squeeze=False)
        for row, name in zip(panels, METRICS, strict=True):
            for axes, scenario in zip(row, PANELS, strict=True):
                _panel(axes, table, scenario, COLUMNS[name][0])
            row[0].set_ylabel(name)
        for axes, scenario in zip(panels[0], PANELS, strict=True):
            axes.set_title(f"{scenario}, {BY_NAME[scenario].rate:g}/s")
        figure.savefig(out, dpi=130)


def _panel(axes: Axes, table: Table, scenario: str, metric: Metric) -> None:
    routers = (QOE, *BASELINES)
    for at, router in enumerate(routers):
        values = list(table.values(scenario, router, metric).values())
        if not values:
            continue
        colour = PALETTE[1] if router == QOE else PALETTE[0]
        axes.plot([at] * len(values), values, "o", color=colour, alpha=0.5, markersize=5)
        mean = sum(values) / len(values)
        axes.plot([at - 0.3, at + 0.3], [mean, mean], color=INK, linewidth=2)
    axes.set_xlim(-0.6, len(routers) - 0.4)
    axes.set_xticks(
        range(len(routers)), [r.replace("_", "\n") for r in routers], fontsize=8
    )
    axes.grid(axis="x", visible=False)
