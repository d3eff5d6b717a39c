"""Two schedulers side by side: medians, ranges and the ratio of each pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.table import Table

from bench.arguments import BenchArguments
from bench.results import Environment, Summary
from bench.traces import Request

POLICIES = ("fcfs", "andes")
Metric = Callable[[Summary], float]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one scheduler; runs of a pair followed one another."""

    policy: str
    pair: int
    summary: Summary


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo measured.

    Attributes:
        command: The command that makes it again.
        load: What was sent, in one sentence.
        arguments: Every setting of the demo.
        environment: Commit and machine.
        runs: All runs, in the order they were made.
    """

    command: str
    load: str
    arguments: dict[str, object]
    environment: Environment
    runs: Sequence[Run]

    def values(self, policy: str, metric: Metric) -> list[float]:
        """The metric of each run of `policy`, by pair."""
        runs = sorted(self.runs, key=lambda run: run.pair)
        return [metric(run.summary) for run in runs if run.policy == policy]

    def ratios(self, metric: Metric) -> list[float]:
        """Andes over FCFS within each pair; NaN where FCFS has 0."""
        fcfs, andes = (np.array(self.values(policy, metric)) for policy in POLICIES)
        return [a / f if f else float("nan") for f, a in zip(fcfs, andes, strict=True)]


class _Row(msgspec.Struct, frozen=True):
    name: str
    metric: Metric
    digits: int = 2
    is_better_high: bool = True


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


def describe(load: BenchArguments, requests: Sequence[Request]) -> str:
    """What was sent, in one sentence."""
    source = "synthetic bursts" if load.trace is None else Path(load.trace).name
    span_s = max(request.arrival_s for request in requests)
    return (
        f"{len(requests):,} requests of {source} in {span_s:.0f} s "
        f"(time scale {load.time_scale:g}, rate scale {load.rate_scale:g}), "
        f"readers of profile {load.profile}"
    )


def cells(result: Comparison) -> list[tuple[str, ...]]:
    """Rows of the table: metric, FCFS, Andes (median [range]), median of the ratios."""
    rows = []
    for row in _ROWS:
        shown = [_spread(result.values(p, row.metric), row.digits) for p in POLICIES]
        ratio = float(np.median(result.ratios(row.metric)))
        rows.append((row.name, *shown, "" if np.isnan(ratio) else f"{ratio:.2f}×"))
    return rows


def render(result: Comparison) -> Table:
    """The table for a terminal."""
    table = Table(title=result.load, title_justify="left")
    table.add_column("median [range]")
    for heading in (*POLICIES, "andes / fcfs"):
        table.add_column(heading, justify="right")
    for row in cells(result):
        table.add_row(*row)
    return table


def markdown(result: Comparison) -> str:
    """The table for a page, with the command and the commit that made it."""
    lines = [
        f"{result.load}; {len(result.runs) // 2} interleaved pairs, median [range].",
        "",
        "| | fcfs | andes | andes / fcfs |",
        "|---|--:|--:|--:|",
        *(f"| {' | '.join(row)} |" for row in cells(result)),
        "",
        result.environment.made_by(result.command),
        "",
    ]
    return "\n".join(lines)


def _spread(values: Sequence[float], digits: int) -> str:
    middle, low, high = float(np.median(values)), min(values), max(values)
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
