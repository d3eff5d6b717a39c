"""The look that all figures share, and the marks they are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from qoe.metrics import Floats

# Okabe and Ito's palette: told apart with any kind of colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#2b2b2b"
MUTED = "#9a9a9a"
STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.12,
    "font.size": 10,
    "text.color": INK,
    # A label is the user's: a dollar sign in it is a dollar sign.
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titlepad": 10,
    "axes.grid": True,
    "grid.color": "#ececec",
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def colours(labels: Iterable[str]) -> dict[str, str]:
    """Each label keeps its colour in every panel."""
    return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}


def cdf(axes: Axes, values: Floats, total: int, colour: str) -> None:
    """Shares of `total`: streams without a value keep the curve below 100 %."""
    if values.size:
        shares = np.arange(values.size + 1) / total
        ordered = np.sort(values)
        axes.step(np.append(ordered[0], ordered), shares, color=colour, where="post")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("streams")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def mark(axes: Axes, x: float, text: str) -> None:
    """A named vertical line."""
    axes.axvline(x, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4, -2),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=9,
        color="#6a6a6a",
    )
