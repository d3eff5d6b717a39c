"""`andes paths`: what direct streaming and the handle path cost, with and without QoE."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.arguments import BenchArguments
from bench.errors import INTERRUPTED, UserError
from bench.live import describe, select_requests
from bench.paths.cpu import cpu_s_by_role, used_between
from bench.paths.page import page
from bench.paths.results import WAYS, PathsResult, Way, WayRun
from bench.report import caveats
from bench.results import environment, summarise
from bench.serving import load_service, serving
from bench.traces import Request


class PathsArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes paths` was asked to do.

    Attributes:
        load: As `andes bench` takes it; its endpoint is filled in.
        rounds: Runs of each way.
        config: The Serve config that is run.
        out: Folder of `paths.json` and `paths.md`.
        command: As it may be published.
    """

    load: BenchArguments
    rounds: int
    config: Path
    out: Path
    command: str


def run_paths(arguments: PathsArguments) -> int:
    """Run the rounds, print the page and write it; the exit code.

    Raises:
        UserError: A bad configuration, a service that does not start, or a run that was
            stopped.
    """
    notes = Console(stderr=True, highlight=False)
    requests = select_requests(arguments.load)
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    try:
        runs = _run_rounds(arguments, requests, notes)
    except KeyboardInterrupt:
        raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
    result = PathsResult(
        command=arguments.command,
        load=describe(arguments.load, requests),
        environment=made_by,
        runs=runs,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(result))
    (arguments.out / "paths.json").write_bytes(encoded)
    text = page(result)
    (arguments.out / "paths.md").write_text(text, encoding="utf-8")
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    notes.print(f"wrote paths.json and paths.md under {escape(str(arguments.out))}")
    return 0


def _run_rounds(
    arguments: PathsArguments, requests: list[Request], notes: Console
) -> list[WayRun]:
    runs: list[WayRun] = []
    for number in range(arguments.rounds):
        # Whatever drifts on the machine meets all ways in either order.
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            notes.rule(f"round {number + 1} of {arguments.rounds}: {way.label}")
            runs.append(_run(arguments, way, number + 1, requests, notes))
    return runs


def _run(
    arguments: PathsArguments,
    way: Way,
    number: int,
    requests: list[Request],
    notes: Console,
) -> WayRun:
    with serving(arguments.config, way.overrides, notes) as running:
        before = cpu_s_by_role()
        load, streams = load_service(running.base_url, arguments.load, requests, notes)
        cpu_s = used_between(before, cpu_s_by_role())
    summary = summarise(streams, clipped=load.clipped)
    for caveat in caveats(summary, streams):
        notes.print(f"[yellow]![/yellow] {escape(caveat)}", soft_wrap=True)
    return WayRun(way=way, round=number, summary=summary, cpu_s=cpu_s)
