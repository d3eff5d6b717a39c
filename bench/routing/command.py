"""`andes routers`: routers on the same loads, and the page and picture made of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.errors import INTERRUPTED, UserError
from bench.fleet.results import FleetSummary
from bench.replay.progress import progress
from bench.replay.workers import Workers
from bench.results import environment
from bench.routing.arguments import RoutingArguments
from bench.routing.cells import BY_NAME, Job, cell_of, plan_jobs
from bench.routing.page import page
from bench.routing.results import RoutingResult, Row, read, write
from bench.traces import read_lengths

# Seconds of a core for one request, on the machine that the first numbers came from.
REQUEST_CORE_S = 0.025


def run_routing(
    arguments: RoutingArguments, make_workers: Callable[[int], Workers] = Workers
) -> int:
    """Run what was asked for, write and draw it; the exit code.

    Raises:
        UserError: The runs were stopped, there is nothing to draw again, or the lengths
            cannot be read.
    """
    notes = Console(stderr=True, highlight=False)
    path = arguments.out / "fleet.json"
    if arguments.redraw:
        result = read(path)
    else:
        if arguments.lengths is not None:
            read_lengths(arguments.lengths)
        result = _run(arguments, make_workers, notes)
        arguments.out.mkdir(parents=True, exist_ok=True)
        write(path, result)
    _publish(result, arguments.out, notes)
    return 1 if result.failed else 0


def measure(job: Job, duration_s: float, lengths: Path | None) -> Row:
    """Replay one job."""
    from bench.fleet.run import replay_fleet  # noqa: PLC0415 - vLLM takes seconds

    started_s = time.perf_counter()
    run = replay_fleet(
        cell_of(job, duration_s, lengths), BY_NAME[job.scenario].fleet, job.router
    )
    assert isinstance(run.summary, FleetSummary)
    return Row(
        job=job,
        summary=msgspec.structs.replace(run.summary, replicas=()),
        plan_failures=run.plan_failures,
        wall_s=round(time.perf_counter() - started_s, 1),
    )


def _run(
    arguments: RoutingArguments, make_workers: Callable[[int], Workers], notes: Console
) -> RoutingResult:
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    jobs = plan_jobs(arguments.seeds)
    rows: dict[Job, Row] = {}
    failed: dict[str, str] = {}
    do = partial(measure, duration_s=arguments.duration_s, lengths=arguments.lengths)
    costs_s = {job: _cost_s(job, arguments.duration_s) for job in jobs}
    queue = sorted(jobs, key=lambda job: -costs_s[job])
    try:
        with (
            make_workers(arguments.jobs) as workers,
            progress(len(jobs), sum(costs_s.values()), notes) as tell,
        ):
            for job, outcome in workers.each({job: job for job in queue}, do):
                if isinstance(outcome, Exception):
                    name = f"{job.scenario}, {job.router}, {job.seed}"
                    failed[name] = " ".join(f"{type(outcome).__name__}: {outcome}".split())
                    said = escape(f"{name}: {failed[name]}")
                    notes.print(f"[red]failed[/red] {said}", soft_wrap=True)
                else:
                    rows[job] = outcome
                tell(costs_s[job])
    except KeyboardInterrupt:
        raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
    return RoutingResult(
        command=arguments.command,
        environment=made_by,
        duration_s=arguments.duration_s,
        lengths=arguments.lengths.name if arguments.lengths else None,
        failed=failed,
        rows=[rows[job] for job in jobs if job in rows],
    )


def _cost_s(job: Job, duration_s: float) -> float:
    return BY_NAME[job.scenario].rate * duration_s * REQUEST_CORE_S


def _publish(result: RoutingResult, out: Path, notes: Console) -> None:
    from bench.routing.plot import plot  # noqa: PLC0415 - matplotlib takes a second

    text = page(result)
    (out / "fleet.md").write_text(text, encoding="utf-8")
    plot(result, out / "fleet.png")
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    written = escape(str(out))
    notes.print(f"wrote fleet.json, fleet.md, fleet.png under {written}", soft_wrap=True)
