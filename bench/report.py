"""How a run is told to a person: a table with one column a run, and what to beware of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.table import Table

from bench.results import Stream, Summary
from bench.scores import Quality

MAX_P99_SEND_LAG_S = 0.1

Run = TypeVar("Run")
# A quantity, and its statistics: the name of each and how it is written.
Block = tuple[str, tuple[tuple[str, Callable[[Run], str]], ...]]

QUALITY_BLOCKS: tuple[Block[Quality], ...] = (
    (
        "area QoE",
        (
            ("mean", lambda s: f"{s.mean_qoe_area:.3f}"),
            ("p5", lambda s: f"{s.p5_qoe_area:.3f}"),
            ("share ≥ 0.95", lambda s: f"{s.share_qoe_area_ge_0_95:.1%}"),
        ),
    ),
    (
        "delay QoE",
        (
            ("mean", lambda s: f"{s.mean_qoe_delay:.3f}"),
            ("p5", lambda s: f"{s.p5_qoe_delay:.3f}"),
            ("share ≥ 0.95", lambda s: f"{s.share_qoe_delay_ge_0_95:.1%}"),
        ),
    ),
    (
        "TTFT, s",
        (
            ("mean", lambda s: _seconds(s.ttft_s.mean)),
            ("p50", lambda s: _seconds(s.ttft_s.p50)),
            ("p99", lambda s: _seconds(s.ttft_s.p99)),
        ),
    ),
    (
        "stall, s",
        (
            ("mean", lambda s: _seconds(s.stall_s.mean)),
            ("p99", lambda s: _seconds(s.stall_s.p99)),
            ("max", lambda s: _seconds(s.stall_s.max)),
        ),
    ),
    (
        "tokens/s",
        (
            ("overall", lambda s: f"{s.tokens_per_s:,.0f}"),
            ("a stream (TDS), p50", lambda s: _pace(s.tds.p50)),
        ),
    ),
)
_BLOCKS: tuple[Block[Summary], ...] = (
    *QUALITY_BLOCKS,
    (
        "requests",
        (
            ("counted", lambda s: f"{s.requests:,}"),
            ("failed", lambda s: f"{sum(s.errors.values()):,}"),
            ("refused", lambda s: f"{s.refused:,}"),
            ("short", lambda s: f"{s.short:,}"),
            ("clipped", lambda s: f"{s.clipped:,}"),
        ),
    ),
    (
        "run",
        (
            ("makespan, s", lambda s: f"{s.makespan_s:.1f}"),
            ("send lag p99, ms", lambda s: f"{1000 * s.send_lag_s.p99:.1f}"),
            ("send lag max, ms", lambda s: f"{1000 * s.send_lag_s.max:.1f}"),
        ),
    ),
)


def render_table(runs: Sequence[tuple[str, Summary]], *, title: str | None = None) -> Table:
    """A table with one column for each (label, summary) and one row for each metric."""
    return metric_table(_BLOCKS, runs, title=title)


def metric_table(
    blocks: Sequence[Block[Run]],
    runs: Sequence[tuple[str, Run]],
    *,
    title: str | None = None,
) -> Table:
    """One column for each (label, run), one row for each statistic of the blocks."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    for label, _ in runs:
        table.add_column(label, justify="right")
    for quantity, rows in blocks:
        for position, (statistic, cell) in enumerate(rows):
            table.add_row(
                "" if position else quantity,
                statistic,
                *(cell(run) for _, run in runs),
                end_section=position == len(rows) - 1,
            )
    return table


def caveats(summary: Summary, streams: Sequence[Stream]) -> list[str]:
    """What a person must know before believing the table, one sentence each."""
    said = [
        f"{count:,} × {kind}: {_commonest_message(kind, streams)}"
        for kind, count in summary.errors.items()
    ]
    if summary.refused:
        said.append(
            f"{summary.refused:,} requests were refused, since no token could come within "
            "their patience, and are counted with QoE 0."
        )
    if summary.send_lag_s.p99 > MAX_P99_SEND_LAG_S:
        said.append(
            "The load generator was the bottleneck: 1 % of the requests left more than "
            f"{1000 * summary.send_lag_s.p99:.0f} ms late, and every time includes that."
        )
    if summary.short:
        said.append(f"{summary.short:,} answers ended without error before their length.")
    if summary.clipped:
        said.append(f"{summary.clipped:,} requests were clipped to the length allowed.")
    if summary.cancelled:
        said.append(f"{summary.cancelled:,} streams were cut off and are not counted.")
    return said


def _commonest_message(kind: str, streams: Sequence[Stream]) -> str:
    messages = Counter(s.error_message for s in streams if s.error == kind)
    return " ".join(str(messages.most_common(1)[0][0]).split())


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _pace(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
