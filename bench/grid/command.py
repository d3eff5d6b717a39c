"""`andes grid`: every cell of the evidence, and the pages and pictures made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.errors import INTERRUPTED, UserError
from bench.grid.arguments import DEFAULT_OUT, GridArguments
from bench.grid.cells import Job, plan_jobs
from bench.grid.progress import progress
from bench.grid.results import GridResult, Row, read_grid, write_grid
from bench.grid.runner import Measured, Workers
from bench.grid.setups import Setup, setup_of
from bench.grid.summary import fill_readme, summary
from bench.grid.table import page
from bench.results import environment

README = Path("README.md")


@dataclass(slots=True)
class _Ended:
    """What has come of the jobs so far."""

    rows: dict[Job, Row] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run_grid(
    arguments: GridArguments, make_workers: Callable[[int], Workers] = Workers
) -> int:
    """Run the cells, write what they came to, and draw it; the exit code.

    Args:
        arguments: What to run.
        make_workers: Starts so many processes.

    Raises:
        UserError: A bad file, a regime whose rate cannot be measured, or a grid that was
            stopped.
    """
    notes = Console(stderr=True, highlight=False)
    if arguments.redraw:
        result = read_grid(arguments.out / "grid.json")
    else:
        result = _run(arguments, make_workers, notes)
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_grid(arguments.out / "grid.json", result)
    _publish(result, arguments.out, notes)
    return 1 if result.failed else 0


def _run(
    arguments: GridArguments, make_workers: Callable[[int], Workers], notes: Console
) -> GridResult:
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    setups = {r.name: setup_of(r, arguments) for r in arguments.regimes}
    drawn = [name for name, setup in setups.items() if setup.lengths is None]
    if drawn:
        notes.print(
            f"[yellow]![/yellow] No file of lengths for {', '.join(drawn)}: they are "
            "lognormal there.",
            soft_wrap=True,
        )
    jobs = plan_jobs(arguments.regimes, arguments.seeds)
    ended = _Ended()
    try:
        with make_workers(arguments.jobs) as workers:
            setups = _measure_rates(workers, setups, notes)
            jobs.sort(key=lambda job: -setups[job.regime].cost_s(job))
            _tell_cost(jobs, setups, arguments.jobs, notes)
            _run_jobs(workers, jobs, setups, ended, notes)
    except KeyboardInterrupt:
        if not (arguments.partial and ended.rows):
            raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
        notes.print(
            f"[yellow]![/yellow] stopped after {len(ended.rows):,} of {len(jobs):,}"
        )
    return GridResult(
        command=arguments.command,
        arguments=_without_folders(arguments),
        environment=made_by,
        regimes={name: setup.facts for name, setup in setups.items()},
        planned=len(jobs),
        failed=ended.failed,
        rows=_in_order(ended.rows, arguments),
    )


def _measure_rates(
    workers: Workers, setups: dict[str, Setup], notes: Console
) -> dict[str, Setup]:
    measured = {}
    with notes.status("loading vLLM, and measuring what fcfs can serve"):
        cells = {name: setup.saturation for name, setup in setups.items()}
        for name, outcome in workers.run(cells):
            if isinstance(outcome, Exception):
                raise UserError(
                    f"regime {name}: what fcfs can serve was not measured: {outcome}",
                    exit_code=1,
                )
            measured[name] = outcome
    return {
        name: replace(
            setup,
            rate=measured[name].served_per_s,
            saturation_requests=measured[name].summary.requests,
        )
        for name, setup in setups.items()
    }


def _tell_cost(
    jobs: Sequence[Job], setups: dict[str, Setup], workers: int, notes: Console
) -> None:
    rates = ", ".join(f"{name} {s.rate:.2f} requests/s" for name, s in setups.items())
    notes.print(f"without bursts fcfs serves: {rates}", soft_wrap=True)
    cost_s = sum(setups[job.regime].cost_s(job) for job in jobs)
    notes.print(
        f"{len(jobs):,} runs, about {cost_s:,.0f} core-seconds: "
        f"{math.ceil(cost_s / workers / 60)} min with {workers} at a time",
        soft_wrap=True,
    )


def _run_jobs(
    workers: Workers,
    jobs: Sequence[Job],
    setups: dict[str, Setup],
    ended: _Ended,
    notes: Console,
) -> None:
    costs_s = {job: setups[job.regime].cost_s(job) for job in jobs}
    with progress(len(jobs), sum(costs_s.values()), notes) as tell:
        cells = {job: setups[job.regime].cell(job) for job in jobs}
        for job, outcome in workers.run(cells):
            if isinstance(outcome, Exception):
                name = f"{job.regime}, {job.load.name}, {job.contender.name}, {job.seed}"
                reason = " ".join(f"{type(outcome).__name__}: {outcome}".split())
                ended.failed[name] = reason
                said = escape(f"{name}: {reason}")
                notes.print(f"[red]failed[/red] {said}", soft_wrap=True)
            else:
                ended.rows[job] = _row(job, setups[job.regime], outcome)
            tell(costs_s[job])


def _row(job: Job, setup: Setup, measured: Measured) -> Row:
    return Row(
        regime=job.regime,
        cell=job.load.name,
        contender=job.contender,
        seed=job.seed,
        load=job.load,
        rate=setup.rate * job.load.rate_share,
        plan_failures=measured.plan_failures,
        wall_s=measured.wall_s,
        metrics=measured.summary,
    )


def _in_order(rows: dict[Job, Row], arguments: GridArguments) -> list[Row]:
    """As planned: which run ended first says nothing."""
    jobs = plan_jobs(arguments.regimes, arguments.seeds)
    return [rows[job] for job in jobs if job in rows]


def _without_folders(arguments: GridArguments) -> dict[str, object]:
    """The arguments as they may be published: files by name, wherever they lie here."""
    named: dict[str, object] = msgspec.to_builtins(
        arguments, enc_hook=lambda path: Path(path).name
    )
    return named


def _publish(result: GridResult, out: Path, notes: Console) -> None:
    from bench.grid.plots import plot_grid  # noqa: PLC0415 - matplotlib takes a second

    lines = summary(result)
    (out / "grid.md").write_text(page(result), encoding="utf-8")
    (out / "grid-summary.md").write_text(lines, encoding="utf-8")
    pictures = plot_grid(result, out)
    Console().print(lines, markup=False, highlight=False, soft_wrap=True)
    written = ["grid.md", "grid-summary.md", *pictures]
    notes.print(f"wrote {', '.join(written)} under {escape(str(out))}", soft_wrap=True)
    if out == DEFAULT_OUT and fill_readme(README, lines):
        notes.print(f"filled {README}")
