"""`andes demo`: the same load on the same service under two schedulers, in turns.

Only the key `scheduler` differs. Pairs alternate which comes first, every run
starts a fresh service, and medians are shown beside the whole range: machines are noisy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console

from bench import comparison
from bench.arguments import BenchArguments
from bench.comparison import POLICIES, Comparison, Run
from bench.errors import INTERRUPTED, UserError
from bench.live import select_requests
from bench.load import Load
from bench.report import caveats, render_table
from bench.results import Stream, environment, summarise
from bench.serving import serve_and_load
from bench.traces import Request
from deployments.service_config import DEFAULT_CONFIG


class DemoArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo compares, and under which load.

    Attributes:
        load: The load, as `andes bench` takes it; its endpoint is filled in.
        pairs: Runs of each scheduler.
        kv_blocks: KV blocks of each engine; few make memory scarce on purpose.
        config: The Serve config that is run.
        out: Folder for the table, the numbers and the picture.
    """

    load: BenchArguments
    pairs: int = 3
    kv_blocks: int = 64
    config: Path = DEFAULT_CONFIG
    out: Path = Path("docs/results")


def demo_command(
    load: BenchArguments, pairs: int, kv_blocks: int, config: Path | None, out: Path
) -> int:
    """`andes demo` with its options parsed; the exit code."""
    command = " ".join(["andes", *sys.argv[1:]])
    arguments = DemoArguments(
        load=load,
        pairs=pairs,
        kv_blocks=kv_blocks,
        config=config or DEFAULT_CONFIG,
        out=out,
    )
    return run_demo(arguments, command)


def run_demo(arguments: DemoArguments, command: str) -> int:
    """Run the pairs, print the table side by side, and write it with a picture.

    Raises:
        UserError: A bad trace or configuration, a service that does not start, or a run
            that was stopped: half a comparison is none.
    """
    notes = Console(stderr=True, highlight=False)
    requests = select_requests(arguments.load)
    if arguments.load.trace is None:
        notes.print("[yellow]![/yellow] No trace file: a synthetic load of the same shape.")
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    try:
        runs, streams = _run_pairs(arguments, requests, notes)
    except KeyboardInterrupt:
        raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
    result = Comparison(
        command=command,
        load=comparison.describe(arguments.load, requests),
        arguments=_without_paths(arguments),
        environment=made_by,
        runs=runs,
    )
    _publish(result, streams, arguments.out)
    return 0


def _run_pairs(
    arguments: DemoArguments, requests: list[Request], notes: Console
) -> tuple[list[Run], list[list[Stream]]]:
    runs: list[Run] = []
    streams: list[list[Stream]] = []
    for number in range(arguments.pairs):
        # Whatever drifts on the machine meets both schedulers in either order.
        for policy in POLICIES if number % 2 == 0 else POLICIES[::-1]:
            notes.rule(f"pair {number + 1} of {arguments.pairs}: {policy}")
            load, ended = _serve_and_load(arguments, policy, requests, notes)
            summary = summarise(ended, clipped=load.clipped)
            notes.print(render_table([(policy, summary)]))
            for caveat in caveats(summary, ended):
                notes.print(f"[yellow]![/yellow] {caveat}", soft_wrap=True)
            runs.append(Run(policy=policy, pair=number + 1, summary=summary))
            streams.append(ended)
    return runs, streams


def _serve_and_load(
    arguments: DemoArguments, policy: str, requests: list[Request], notes: Console
) -> tuple[Load, list[Stream]]:
    overrides = {
        "scheduler": policy,
        "engine_kwargs": {
            "num_gpu_blocks_override": arguments.kv_blocks,
            "kv_cache_memory_bytes": None,
        },
    }
    return serve_and_load(arguments.config, overrides, arguments.load, requests, notes)


def _without_paths(arguments: DemoArguments) -> dict[str, object]:
    """The arguments as they may be published: files by name, wherever they lie here."""
    named = {"config": arguments.config.name, "out": arguments.out.name}
    load: dict[str, object] = msgspec.to_builtins(arguments.load, enc_hook=lambda p: p.name)
    return {
        "pairs": arguments.pairs,
        "kv_blocks": arguments.kv_blocks,
        **named,
        "load": load,
    }


def _publish(result: Comparison, streams: Sequence[Sequence[Stream]], out: Path) -> None:
    from bench.plot import plot_runs  # noqa: PLC0415 - matplotlib takes a second

    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    console.print(comparison.render(result))
    (out / "demo.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    (out / "demo.md").write_text(comparison.markdown(result), encoding="utf-8")
    pair = _median_pair(result)
    shown = {
        run.policy: ended
        for run, ended in zip(result.runs, streams, strict=True)
        if run.pair == pair
    }
    plot_runs({policy: shown[policy] for policy in POLICIES}, out / "demo.png")
    console.print(f"wrote demo.md, demo.json and demo.png (pair {pair}) under {out}")


def _median_pair(result: Comparison) -> int:
    """The pair whose ratio of mean area QoE is the median one."""
    ratios = result.ratios(lambda s: s.mean_qoe_area)
    return int(np.argsort(ratios)[len(ratios) // 2]) + 1
