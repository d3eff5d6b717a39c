"""The figure of the policy: never late under the bound, and the curve of its setting."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from bench.figure import INK, MUTED, PALETTE, STYLE
from evidence.ablations import CURVE
from evidence.policy.jobs import (
    ANDES,
    BASELINES,
    BURST,
    MODES,
    VALIDATION_NAMES,
    Contender,
    Load,
    on_curve,
)
from evidence.policy.results import Evidence
from evidence.policy.table import AREA, NEVER_LATE, SHARE, TOKENS, Table, mean

_ORDER = [*BASELINES["recompute"], ANDES["recompute"]]
_OFFLOAD = {c.policy: c for c in (*BASELINES["offload"][1:], ANDES["offload"])}
_ANDES, _OTHER = PALETTE[1], PALETTE[0]


def plot(result: Evidence, path: Path) -> None:
    """Draw what there is."""
    table = Table(result.rows)
    loads = [Load(f, BURST) for f in VALIDATION_NAMES if f in table.rates]
    # One that was run on a part of the loads would be another curve.
    curve = on_curve().values()
    has_curve = bool(loads) and any(TOKENS.over(table, loads, c) is not None for c in curve)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 7.4 if has_curve else 4.1))
        top, *below = figure.subfigures(2 if has_curve else 1, 1, squeeze=False)[:, 0]
        panels = top.subplots(1, max(len(loads), 1), sharey=True, squeeze=False)[0]
        for axes, load in zip(panels, loads, strict=False):
            _family(axes, table, load)
        panels[0].set_yticks(range(len(_ORDER)), [c.name for c in _ORDER])
        panels[0].set_ylim(len(_ORDER) - 0.4, -0.6)
        _legend(top)
        if has_curve:
            for axes, column in zip(below[0].subplots(1, 2), (AREA, SHARE), strict=True):
                points = [
                    (TOKENS.over(table, loads, c), column.over(table, loads, c), value)
                    for value, c in on_curve().items()
                ]
                _curve(axes, points, column.title)
        figure.savefig(path, dpi=130, metadata={"Software": None})


def _family(axes: Axes, table: Table, load: Load) -> None:
    bound = mean(table.bounds(load).values())
    if bound is not None:
        axes.axvline(bound, color=INK, lw=1.4, linestyle=(0, (4, 3)), zorder=1)
    for y, contender in enumerate(_ORDER):
        _dot(axes, table, load, contender, y)
        if contender.policy in _OFFLOAD:
            _dot(axes, table, load, _OFFLOAD[contender.policy], y)
    axes.set_title(load.family)
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("streams never late")


def _dot(axes: Axes, table: Table, load: Load, contender: Contender, y: int) -> None:
    values = list(NEVER_LATE.by_seed(table, load, contender).values())
    middle = mean(values)
    if middle is None:
        return
    colour = _ANDES if contender.policy == "andes" else _OTHER
    face = colour if contender.resume == MODES[0] else "white"
    axes.hlines(y, min(values), max(values), color=colour, lw=1.2, alpha=0.5)
    axes.scatter([middle], [y], s=52, edgecolor=colour, facecolor=face, zorder=3)


def _legend(figure: Figure) -> None:
    def mark(face: str, label: str) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="none",
            label=label,
            marker="o",
            markeredgecolor=MUTED,
            markerfacecolor=face,
        )

    handles = [
        mark(MUTED, "recompute"),
        mark("white", "offload"),
        Line2D(
            [], [], color=INK, lw=1.4, linestyle=(0, (4, 3)), label="no schedule exceeds"
        ),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=10)


def _curve(
    axes: Axes, points: list[tuple[float | None, float | None, str]], title: str
) -> None:
    known = [(x, y, value) for x, y, value in points if x is not None and y is not None]
    axes.plot([x for x, _, _ in known], [y for _, y, _ in known], "o-", color=_ANDES)
    for x, y, value in known:
        axes.annotate(value, (x, y), (5, 5), textcoords="offset points", fontsize=9)
    axes.set_xlabel("tokens/s / fcfs")
    axes.set_ylabel(title)
    axes.set_title(f"by {CURVE.setting}")
