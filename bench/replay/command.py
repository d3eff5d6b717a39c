"""`andes replay`: one load through several schedulers, side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from bench.errors import INTERRUPTED, UserError
from bench.fleet.arguments import Fleet
from bench.fleet.report import steps_of
from bench.replay.arguments import Cell, ReplayArguments
from bench.replay.profiles import latency_profile
from bench.replay.report import caveats, render_runs
from bench.replay.results import OnProgress, ReplayResult, Run, label
from bench.replay.schedulers import settings_of
from bench.replay.workload import burst_shape, plan_workload
from bench.results import Environment, environment


def run_replay(arguments: ReplayArguments, command: str = "andes replay") -> int:
    """Replay the load under each scheduler, print the table, write what was asked for.

    Args:
        arguments: What to replay.
        command: What makes it again, for those who read the result.

    Raises:
        UserError: A bad option or file, or a run that was stopped: half a comparison is
            none.
    """
    notes = Console(stderr=True, highlight=False)
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    cells = [arguments.cell(name) for name in dict.fromkeys(arguments.scheduler)]
    _check(cells, arguments.fleet)
    try:
        runs = _replay_all(arguments, cells, notes)
    except KeyboardInterrupt:
        raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
    for table in render_runs(runs):
        Console().print(table)
    for caveat in caveats(runs, arguments.fleet):
        notes.print(f"[yellow]![/yellow] {escape(caveat)}", soft_wrap=True)
    if arguments.json is not None:
        result = ReplayResult(
            runs=[run.row() for run in runs],
            arguments=_without_folders(arguments),
            environment=made_by,
        )
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        notes.print(f"wrote {escape(str(arguments.json))}")
    if arguments.plot is not None:
        from bench.replay.plot import plot_replays  # noqa: PLC0415 - matplotlib is slow

        bursts = burst_shape(arguments) if arguments.synthetic else None
        plot_replays(
            {run.label: run.scores for run in runs},
            arguments.plot,
            bursts,
            {r.label: steps for r in runs if (steps := steps_of(r))},
        )
        notes.print(f"wrote {escape(str(arguments.plot))}")
    if arguments.page is not None:
        _write_page(arguments, runs, made_by, command, notes)
    return 0


def _write_page(
    arguments: ReplayArguments,
    runs: Sequence[Run],
    made_by: Environment,
    command: str,
    notes: Console,
) -> None:
    from bench.fleet.scaling_page import (  # noqa: PLC0415 - matplotlib is slow
        page,
        plot_curve,
        rows_of,
    )

    assert arguments.page is not None
    curve = arguments.page.with_name(f"{arguments.page.stem}-curve.png")
    rows = rows_of(runs, burst_shape(arguments) if arguments.synthetic else None)
    plot_curve(rows, curve)
    arguments.page.write_text(page(rows, made_by, command, curve.name))
    notes.print(f"wrote {escape(str(arguments.page))} and {escape(str(curve))}")


def _check(cells: Sequence[Cell], fleet: Fleet | None) -> None:
    """Refuse a bad option or file now: vLLM takes long to load."""
    if fleet and fleet.autoscale:
        from bench.fleet.scalers import scaler_of  # noqa: PLC0415 - Ray is slow as well

        for scaling in fleet.autoscale:
            scaler_of(scaling, fleet)
    plan_workload(cells[0])
    for cell in cells:
        settings_of(cell, latency_profile(cell.profile))


def _replay_all(
    arguments: ReplayArguments, cells: Sequence[Cell], notes: Console
) -> list[Run]:
    # vLLM reads it when it is imported, and tells of every engine it configures.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    with notes.status("loading vLLM"):
        from bench.fleet.run import (  # noqa: PLC0415 - vLLM takes seconds
            many_workers,
            replay_fleet,
        )
        from bench.replay.run import replay  # noqa: PLC0415
    fleet = arguments.fleet
    routers = dict.fromkeys(arguments.router) if fleet else [None]
    scalings = dict.fromkeys(fleet.autoscale) if fleet and fleet.autoscale else [None]
    runs = []
    with many_workers(fleet) as workers:
        for cell, router, scaling in product(cells, routers, scalings):
            name = label(cell.scheduler, router, scaling.label if scaling else None)
            with _progress_bar(name, notes) as on_progress:
                runs.append(
                    replay_fleet(cell, fleet, router, on_progress, scaling, workers)
                    if fleet and router
                    else replay(cell, on_progress)
                )
    return runs


@contextmanager
def _progress_bar(name: str, notes: Console) -> Iterator[OnProgress | None]:
    """None where the console is no terminal: a log wants no thousand copies of a line."""
    if not notes.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("streams"),
        Elapsed(),
    )
    with Progress(*columns, console=notes, transient=True) as display:
        task = display.add_task(name, total=None)
        yield lambda ended, total: display.update(task, completed=ended, total=total)


def _without_folders(arguments: ReplayArguments) -> dict[str, object]:
    """The arguments as they may be published: files by name, wherever they lie here."""
    named: dict[str, object] = msgspec.to_builtins(
        arguments, enc_hook=lambda path: Path(path).name
    )
    if arguments.fleet is None:
        del named["fleet"], named["router"], named["page"]
    return named
