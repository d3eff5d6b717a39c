"""Two schedulers side by side, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from rich.table import Table

from bench.demo.comparison import POLICIES, Comparison, Metric
from bench.demo.verdict import how_it_was_set, unsteady, verdict
from bench.markdown import pipe_table


class _Row(msgspec.Struct, frozen=True):
    name: str
    metric: Metric
    digits: int = 2


_ROWS = (
    _Row("area QoE, mean", lambda s: s.mean_qoe_area, 3),
    _Row("area QoE, p5", lambda s: s.p5_qoe_area, 3),
    _Row("share with area QoE ≥ 0.95", lambda s: s.share_qoe_area_ge_0_95, 3),
    _Row("delay QoE, mean", lambda s: s.mean_qoe_delay, 3),
    _Row("delay QoE, p5", lambda s: s.p5_qoe_delay, 3),
    _Row("TTFT mean, s", lambda s: s.ttft_s.mean or 0.0),
    _Row("TTFT p50, s", lambda s: s.ttft_s.p50 or 0.0),
    _Row("TTFT p99, s", lambda s: s.ttft_s.p99 or 0.0),
    _Row("stall mean, s", lambda s: s.stall_s.mean),
    _Row("stall p99, s", lambda s: s.stall_s.p99),
    _Row("stall max, s", lambda s: s.stall_s.max),
    _Row("tokens/s of a stream, p50", lambda s: s.tds.p50 or 0.0, 0),
    _Row("tokens/s, all streams", lambda s: s.tokens_per_s, 0),
    _Row("failed streams", lambda s: float(sum(s.errors.values())), 0),
)


def table(result: Comparison) -> list[tuple[str, ...]]:
    """Heading and rows: metric, FCFS, Andes (median [range]), median of the ratios.

    On a machine that was too unsteady to tell there are no ratios.
    """
    told = not unsteady(result)
    rows: list[tuple[str, ...]] = [("", *POLICIES, *(["andes / fcfs"] if told else []))]
    for row in _ROWS:
        shown = [_spread(result.values(p, row.metric), row.digits) for p in POLICIES]
        ratio = float(np.median(result.ratios(row.metric)))
        ratios = ["" if np.isnan(ratio) else f"{ratio:.2f}×"] if told else []
        rows.append((row.name, *shown, *ratios))
    return rows


def render(result: Comparison) -> Table:
    """The table for a terminal."""
    head, *rows = table(result)
    shown = Table(title=result.load, title_justify="left", caption="median [range]")
    for place, heading in enumerate(head):
        shown.add_column(heading, justify="right" if place else "left")
    for row in rows:
        shown.add_row(*row)
    return shown


def markdown(result: Comparison) -> str:
    """The verdict and the table for a page, with the command and commit that made it."""
    head, *rows = table(result)
    pairs = max(run.pair for run in result.runs)
    lines = [
        f"{result.load}; interleaved pairs: {pairs}, median [range].",
        how_it_was_set(result),
        "",
        f"**{verdict(result)}**",
        "",
        pipe_table(head, rows),
        "",
        result.environment.made_by(result.command),
        "",
    ]
    return "\n".join(lines)


def _spread(values: Sequence[float], digits: int) -> str:
    middle, low, high = float(np.median(values)), min(values), max(values)
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
