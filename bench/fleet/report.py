"""How replays of many replicas are told to a person, beside what all replays tell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.table import Table

from bench.fleet.arguments import Fleet
from bench.fleet.results import FleetSummary, ReplicaSummary, ScaleStep
from bench.replay.results import Run
from bench.report import Block, metric_table

# What is wider or longer than this is for the JSON.
MAX_RUNS_SHOWN = 3
MAX_REPLICAS_SHOWN = 16


def _changes(summary: FleetSummary) -> str:
    if summary.scaling is None:
        return "–"
    steps = [event.after - event.before for event in summary.scaling.events]
    return f"{sum(n for n in steps if n > 0)} / {-sum(n for n in steps if n < 0)}"


def _most(summary: FleetSummary) -> int:
    """Of the replicas that hold GPUs."""
    if summary.scaling is None:
        return len(summary.replicas)
    return max(s.starting + s.serving + s.leaving for s in summary.scaling.steps)


_BLOCKS: tuple[Block[FleetSummary], ...] = (
    (
        "across replicas",
        (
            ("requests, CV", lambda s: f"{s.imbalance.requests_cv:.2f}"),
            ("demand, CV", lambda s: f"{s.imbalance.demand_cv:.2f}"),
            ("lowest mean area QoE", lambda s: f"{_lowest_qoe(s):.3f}"),
            ("lowest busy share", lambda s: f"{min(map(_busy, s.replicas)):.0%}"),
            ("highest busy share", lambda s: f"{max(map(_busy, s.replicas)):.0%}"),
        ),
    ),
    (
        "streams",
        (
            ("failed", lambda s: f"{s.failed:,}"),
            ("rerouted", lambda s: f"{s.rerouted:,}"),
            ("resumed", lambda s: f"{s.resumed:,}"),
            ("placed without scores", lambda s: f"{s.fallbacks:,}"),
        ),
    ),
    (
        "replicas",
        (
            ("GPU-seconds", lambda s: f"{s.gpu_seconds:,.0f}"),
            ("ordered and let go", _changes),
            ("most at once", lambda s: f"{_most(s):,}"),
        ),
    ),
)


def fleet_tables(runs: Sequence[Run]) -> list[Table]:
    """None for runs of one engine without a router."""
    fleets = [
        (run.label, run.summary) for run in runs if isinstance(run.summary, FleetSummary)
    ]
    if not fleets:
        return []
    tables = [metric_table(_BLOCKS, fleets)]
    is_small = max(len(f.replicas) for _, f in fleets) <= MAX_REPLICAS_SHOWN
    if is_small and len(fleets) <= MAX_RUNS_SHOWN:
        tables.append(_replica_table(fleets))
    return tables


def steps_of(run: Run) -> tuple[ScaleStep, ...]:
    """Its replicas over time; empty where their number was given."""
    summary = run.summary
    scaling = summary.scaling if isinstance(summary, FleetSummary) else None
    return () if scaling is None else scaling.steps


def fleet_caveats(runs: Sequence[Run], fleet: Fleet | None) -> list[str]:
    """What a person must know before believing the tables, one sentence each."""
    summaries = {r.label: r.summary for r in runs if isinstance(r.summary, FleetSummary)}
    said = [
        f"{label}: {summary.failed:,} streams were cut off or found no replica alive; each "
        "is scored with what it got, up to its last token."
        for label, summary in summaries.items()
        if summary.failed
    ]
    end_s = max((summary.makespan_s for summary in summaries.values()), default=0.0)
    late = [fault for fault in (fleet.at if fleet else ()) if fault.at_s > end_s]
    return said + [
        f"--at {fault.at_s:g} {fault.kind} {fault.replica} changed nothing: the last token "
        f"came at {end_s:.1f} s."
        for fault in late
    ]


def _replica_table(fleets: Sequence[tuple[str, FleetSummary]]) -> Table:
    title = "requests · mean area QoE · busy share of each replica"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("replica", justify="right")
    for label, _ in fleets:
        table.add_column(label, justify="right")
    # An autoscaler makes as many as it likes.
    rows = zip_longest(*(summary.replicas for _, summary in fleets))
    for number, replicas in enumerate(rows):
        table.add_row(str(number), *map(_cell, replicas))
    return table


def _lowest_qoe(summary: FleetSummary) -> float:
    means = (replica.mean_qoe_area for replica in summary.replicas)
    return min((mean for mean in means if mean is not None), default=0.0)


def _busy(replica: ReplicaSummary) -> float:
    return replica.busy_share


def _cell(replica: ReplicaSummary | None) -> str:
    if replica is None:
        return "–"
    qoe = "–" if replica.mean_qoe_area is None else f"{replica.mean_qoe_area:.3f}"
    return f"{replica.requests:,} · {qoe} · {replica.busy_share:.0%}"
