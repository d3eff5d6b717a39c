"""How engine and replay are told apart: one table for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.table import Table

from bench.arguments import BenchArguments
from bench.fidelity.arguments import FidelityArguments
from bench.fidelity.results import METRICS, POLICIES, TARGET, Fidelity, Metric, Pair
from bench.load import PlannedStream

HEADINGS = ("", "", "engine", "replay", "error", "error at the run's own speed")
_CLOCKS = {
    "cpu": "Time is what the engine's thread ran: what other programs took from it does "
    "not count, and pauses between requests are skipped.",
    "wall": "Time is the wall's: what other programs took from the engine counts.",
}


def describe(arguments: FidelityArguments, streams: Sequence[PlannedStream]) -> str:
    """What was sent to what, in one sentence."""
    load: BenchArguments = arguments.load
    source = "synthetic bursts" if load.trace is None else load.trace.name
    tokens = sum(stream.output_tokens for stream in streams)
    return (
        f"{len(streams):,} requests for {tokens:,} tokens, {source} in "
        f"{streams[-1].arrival_s:.0f} s, readers of profile {load.profile}; "
        f"{arguments.kv_blocks} KV blocks of 128 tokens"
    )


def cells(result: Fidelity) -> Iterator[tuple[str, ...]]:
    """Rows of the table; medians, and in brackets the whole range."""
    for policy in POLICIES:
        pairs = result.of(policy)
        for metric in METRICS:
            yield (
                policy,
                metric.name + (f" (≤ {TARGET:.0%})" if metric.is_target else ""),
                _spread([metric.value(p.real) for p in pairs], metric.digits),
                _spread([metric.value(p.replayed) for p in pairs], metric.digits),
                _percents([metric.error(p.real, p.replayed) for p in pairs]),
                _percents([metric.error(p.real, p.replayed_at_speed) for p in pairs]),
            )


def render(result: Fidelity) -> Table:
    """The table for a terminal."""
    table = Table(title=result.load, title_justify="left")
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right")
    for row in cells(result):
        table.add_row(*row)
    return table


def misses(result: Fidelity) -> list[str]:
    """The errors beyond what the project promises, one sentence each."""
    return [
        f"{policy}: the replay misses {metric.name} by {abs(error):.0%}, more than "
        f"{TARGET:.0%}."
        for policy in POLICIES
        for metric in METRICS
        if metric.is_target and abs(error := _error(result, policy, metric)) > TARGET
    ]


def markdown(result: Fidelity) -> str:
    """The page: table, machine, constants, and the command that made it."""
    lines = [
        "# The real engine and its replay",
        "",
        f"{result.load}. {_CLOCKS[str(result.arguments['clock'])]} "
        f"{len(result.pairs) // len(POLICIES)} interleaved runs of each, median [range].",
        "",
        _row(HEADINGS),
        "|---|---|--:|--:|--:|--:|",
        *(_row(row) for row in cells(result)),
        "",
        *(misses(result) or [f"Every median is within the {TARGET:.0%} that is promised."]),
        "",
        *(_machine(policy, result.of(policy)) for policy in POLICIES),
        "",
        "The engine is vLLM's own on a CPU with the tiny random model, one thread, async "
        "scheduling off (vLLM turns it off there).",
        "",
        result.environment.made_by(result.command),
        "",
    ]
    return "\n".join(lines)


def _machine(policy: str, pairs: Sequence[Pair]) -> str:
    """How fast the machine was, and what was fitted to it."""
    steps = "; ".join(f"{p.before_ms:.2f} → {p.after_ms:.2f}" for p in pairs)
    speeds = ", ".join(f"{p.speed:.2f}" for p in pairs)
    fitted = pairs[len(pairs) // 2].constants
    return (
        f"- {policy}: a step of eight streams, calibrated before → after each run, ms: "
        f"{steps}. The runs took {speeds} times what their steps cost by the constants; "
        f"those of the middle run are {1e3 * fitted.base_s:.2f} ms a step, "
        f"{1e6 * fitted.per_stream_s:.0f} µs a stream, "
        f"{1e6 * fitted.per_context_token_s:.3f} µs a context token, "
        f"{1e6 * fitted.per_prefill_token_s:.2f} µs a prompt token and "
        f"{1e9 * fitted.per_prefill_token2_s:.2f} ns a pair of them."
    )


def _error(result: Fidelity, policy: str, metric: Metric) -> float:
    errors = [metric.error(p.real, p.replayed) for p in result.of(policy)]
    return float(np.median(errors))


def _row(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"


def _spread(values: Sequence[float], digits: int) -> str:
    middle, low, high = float(np.median(values)), min(values), max(values)
    return f"{middle:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def _percents(values: Sequence[float]) -> str:
    if np.isnan(values).any():
        return ""
    middle, low, high = float(np.median(values)), min(values), max(values)
    return f"{middle:+.1%} [{low:+.1%}, {high:+.1%}]"
