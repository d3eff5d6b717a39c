"""`andes plan`: the fewest replicas that give readers what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.errors import INTERRUPTED, UserError
from bench.plan.arguments import PlanArguments
from bench.plan.contenders import Contender
from bench.plan.report import caveats, outcome_table, page, saving
from bench.plan.results import Outcome, PlanResult, Probe, bracket, outcome_of
from bench.replay.arguments import Cell
from bench.replay.profiles import latency_profile
from bench.replay.schedulers import settings_of
from bench.replay.workers import Workers
from bench.replay.workload import plan_workload
from bench.results import environment
from router.settings import PolicyName


class Job(NamedTuple):
    """One fleet to try."""

    cell: Cell
    router: PolicyName
    replicas: int


class Pool(Protocol):
    """Runs jobs somewhere, and yields each as it ends, well or not."""

    def each(
        self, jobs: Mapping[tuple[Contender, int], Job], do: Callable[[Job], Probe]
    ) -> Iterator[tuple[tuple[Contender, int], Probe | Exception]]:
        """`do` of every job, by its key."""


def run_plan(
    arguments: PlanArguments,
    command: str,
    make_workers: Callable[[int], Workers] = Workers,
) -> int:
    """Search, print the table, write what was asked for; 1 where a target is out of reach.

    Args:
        arguments: What to plan.
        command: What makes it again, for those who read the result.
        make_workers: Starts so many processes.

    Raises:
        UserError: A bad option or file, a run that failed, or a plan that was stopped.
    """
    notes = Console(stderr=True, highlight=False)
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    profile = latency_profile(arguments.profile)
    for contender in arguments.contender:
        settings_of(arguments.cell(contender), profile)
    streams = plan_workload(arguments.cell(arguments.contender[0]))
    try:
        with make_workers(arguments.workers) as workers:
            probes = search(arguments, workers, notes)
    except KeyboardInterrupt:
        raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
    hours = max(streams[-1].arrival_s - streams[0].arrival_s, 1.0) / 3600.0
    result = PlanResult(
        command=command,
        arguments=_without_folders(arguments),
        environment=made_by,
        gpus_per_replica=profile.tp,
        requests=len(streams),
        hours=hours,
        targets=arguments.target,
        outcomes=_outcomes(arguments, probes, profile.tp, hours),
    )
    _print_result(result, arguments, notes)
    _write(result, arguments, notes)
    return 0 if all(outcome.replicas for outcome in result.outcomes) else 1


def _outcomes(
    arguments: PlanArguments,
    probes: Mapping[Contender, list[Probe]],
    gpus_per_replica: int,
    hours: float,
) -> tuple[Outcome, ...]:
    return tuple(
        outcome_of(
            contender,
            probes[contender],
            arguments.target,
            most=arguments.max_replicas,
            gpus_per_replica=gpus_per_replica,
            hours=hours,
        )
        for contender in arguments.contender
    )


def _print_result(result: PlanResult, arguments: PlanArguments, notes: Console) -> None:
    Console().print(outcome_table(result))
    for line in saving(result):
        Console().print(escape(line), soft_wrap=True)
    for caveat in caveats(result, arguments.max_replicas):
        notes.print(f"[yellow]![/yellow] {escape(caveat)}", soft_wrap=True)


def search(
    arguments: PlanArguments, pool: Pool, notes: Console
) -> dict[Contender, list[Probe]]:
    """Every fleet tried, by contender; rounds of runs until each bracket is closed.

    Raises:
        UserError: A run failed.
    """
    probes: dict[Contender, list[Probe]] = {c: [] for c in arguments.contender}
    while jobs := _next_jobs(arguments, probes):
        for (contender, replicas), probe in pool.each(jobs, replay_fleet_of):
            if isinstance(probe, Exception):
                raise UserError(
                    f"{contender.label} with {replicas} replicas failed: {probe}",
                    exit_code=1,
                ) from probe
            probes[contender].append(probe)
            values = ", ".join(
                f"{t.metric} {t.value(probe.quality):.3f}" for t in arguments.target
            )
            notes.print(f"{contender.label} × {replicas}: {values}")
    return probes


def _next_jobs(
    arguments: PlanArguments, probes: Mapping[Contender, list[Probe]]
) -> dict[tuple[Contender, int], Job]:
    most = arguments.max_replicas
    brackets = {c: bracket(p, arguments.target, most) for c, p in probes.items()}
    is_open = [contender for contender, b in brackets.items() if not b.is_closed]
    # Cells that nobody would work on at once would cost time and tell little.
    each = max(arguments.workers // max(len(is_open), 1), 1)
    return {
        (contender, replicas): Job(arguments.cell(contender), contender.router, replicas)
        for contender in is_open
        for replicas in brackets[contender].probes(each)
    }


def replay_fleet_of(job: Job) -> Probe:
    """Replay one fleet in this process."""
    from bench.fleet.arguments import Fleet  # noqa: PLC0415 - vLLM takes seconds
    from bench.fleet.results import FleetSummary  # noqa: PLC0415
    from bench.fleet.run import replay_fleet  # noqa: PLC0415
    from bench.scores import Quality  # noqa: PLC0415

    summary = replay_fleet(job.cell, Fleet(replicas=job.replicas), job.router).summary
    assert isinstance(summary, FleetSummary)
    quality = {name: getattr(summary, name) for name in Quality.__struct_fields__}
    return Probe(
        replicas=job.replicas,
        quality=Quality(**quality),
        makespan_s=summary.makespan_s,
        gpu_seconds=summary.gpu_seconds,
        failed=summary.failed + summary.refused,
    )


def _write(result: PlanResult, arguments: PlanArguments, notes: Console) -> None:
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        notes.print(f"wrote {escape(str(arguments.json))}")
    if arguments.plot is not None:
        from bench.plan.plot import plot_plan  # noqa: PLC0415 - matplotlib is slow

        plot_plan(result, arguments.plot)
        notes.print(f"wrote {escape(str(arguments.plot))}")
    if arguments.page is not None:
        picture = arguments.plot.name if arguments.plot else None
        arguments.page.write_text(page(result, arguments.max_replicas, picture))
        notes.print(f"wrote {escape(str(arguments.page))}")


def _without_folders(arguments: PlanArguments) -> dict[str, object]:
    """The arguments as they may be published: files by name, wherever they lie here."""
    named: dict[str, object] = msgspec.to_builtins(
        arguments, enc_hook=lambda path: Path(path).name
    )
    return named
