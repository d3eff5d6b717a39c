"""How replays are told to a person: one column a run, and what to beware of."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bench.fleet.arguments import Fleet
from bench.fleet.report import fleet_caveats, fleet_tables
from bench.replay.results import Run, RunSummary
from bench.report import QUALITY_BLOCKS, Block, metric_table

_BLOCKS: tuple[Block[RunSummary], ...] = (
    *QUALITY_BLOCKS,
    (
        "engine",
        (
            ("preemptions/request", lambda s: f"{s.preemptions_per_request:.2f}"),
            ("peak waiting", lambda s: f"{s.peak_waiting:,}"),
            ("plan p50, ms", lambda s: _ms(s.plan_ms.p50)),
            ("plan p99, ms", lambda s: _ms(s.plan_ms.p99)),
        ),
    ),
    (
        "run",
        (
            ("requests", lambda s: f"{s.requests:,}"),
            ("refused", lambda s: f"{s.refused + s.out_of_patience:,}"),
            ("makespan, s", lambda s: f"{s.makespan_s:.1f}"),
        ),
    ),
)


def render_runs(runs: Sequence[Run]) -> list[Table]:
    """What each run made of the load: the good and the bad side by side."""
    table = metric_table(_BLOCKS, [(run.label, run.summary) for run in runs])
    return [table, *fleet_tables(runs)]


def caveats(runs: Sequence[Run], fleet: Fleet | None = None) -> list[str]:
    """What a person must know before believing the table, one sentence each."""
    said = [
        f"{run.label} failed in {run.plan_failures:,} steps, which were plain vLLM."
        for run in runs
        if run.plan_failures
    ]
    refused = runs[0].summary.refused
    if refused:
        said.append(
            f"{refused:,} requests are larger than the engine: refused, and counted with "
            "QoE 0 under every scheduler."
        )
    said += [
        f"{run.label} refused {count:,} requests, since no token could come within their "
        "patience: they are counted with QoE 0."
        for run in runs
        if (count := run.summary.out_of_patience)
    ]
    return [*said, *fleet_caveats(runs, fleet)]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
