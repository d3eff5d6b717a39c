"""`andes fidelity`: the same load on the real engine and in replay, and the error."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import MappingProxyType

import msgspec
from rich.console import Console

from bench.errors import INTERRUPTED, UserError
from bench.fidelity.arguments import MAX_CONTEXT_TOKENS, FidelityArguments
from bench.fidelity.report import describe, markdown, misses, render
from bench.fidelity.results import POLICIES, Fidelity, Pair
from bench.live import make_load, select_requests
from bench.load import PlannedStream
from bench.results import environment

# Read when vLLM and torch are imported: the engine in this process, on one thread.
ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "OMP_NUM_THREADS": "1",
    }
)


def run_fidelity(arguments: FidelityArguments) -> int:
    """Compare, print the table, and write it; 1 where the replay misses what is promised.

    Raises:
        UserError: A bad trace, an empty window, or a comparison that was stopped: half of
            one is none.
    """
    notes = Console(stderr=True, highlight=False)
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    streams = planned_streams(arguments)
    try:
        pairs = _compare(arguments, streams, notes)
    except KeyboardInterrupt:
        raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
    result = Fidelity(
        command=" ".join(["andes", *sys.argv[1:]]),
        load=describe(arguments, streams),
        arguments=arguments.published(),
        environment=made_by,
        pairs=pairs,
    )
    Console().print(render(result))
    for miss in misses(result):
        notes.print(f"[yellow]![/yellow] {miss}", soft_wrap=True)
    _write(result, arguments.out)
    notes.print(f"wrote fidelity.md and fidelity.json under {arguments.out}")
    return int(bool(misses(result)))


def planned_streams(arguments: FidelityArguments) -> tuple[PlannedStream, ...]:
    """The load, cut to what one stream may hold.

    Raises:
        UserError: A bad trace, or no request in the window.
    """
    load = msgspec.structs.replace(arguments.load, max_context_tokens=MAX_CONTEXT_TOKENS)
    return make_load(load, select_requests(load)).streams


def _compare(
    arguments: FidelityArguments, streams: Sequence[PlannedStream], notes: Console
) -> list[Pair]:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    pairs: list[Pair] = []
    with notes.status("loading vLLM") as status, ExitStack() as open_engines:
        from bench.fidelity.run import measure, start_engine  # noqa: PLC0415 - takes long

        engines = {
            policy: open_engines.enter_context(closing(start_engine(arguments, policy)))
            for policy in POLICIES
        }
        for repeat in range(arguments.repeats):
            # Whatever drifts on the machine meets both schedulers in either order.
            for policy in POLICIES if repeat % 2 == 0 else POLICIES[::-1]:
                status.update(f"run {repeat + 1} of {arguments.repeats}: {policy}")
                pairs.append(
                    measure(
                        engines[policy],
                        arguments,
                        streams,
                        policy=policy,
                        repeat=repeat + 1,
                    )
                )
    return pairs


def _write(result: Fidelity, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "fidelity.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    (out / "fidelity.md").write_text(markdown(result), encoding="utf-8")
