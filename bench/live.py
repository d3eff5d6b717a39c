"""`andes bench`: one load, streamed against a running endpoint, scored and reported."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.arguments import BenchArguments
from bench.client import run_load
from bench.endpoint import Endpoint, find_model
from bench.errors import INTERRUPTED, UserError
from bench.exposition import exposed
from bench.load import BurstShape, Load, cyclic_burst, plan_load
from bench.progress import progress_bar
from bench.report import caveats, render_table
from bench.results import CANCELLED, Result, Stream, environment, summarise, write_result
from bench.traces import Request, read_trace, select
from qoe import PROFILES


def run_bench(arguments: BenchArguments) -> int:
    """Run one benchmark and report it; the exit code of the command.

    0 where the load ran, 1 where not one stream succeeded, 130 after Ctrl-C.

    Raises:
        UserError: A bad trace, an empty window, no endpoint.
    """
    notes = Console(stderr=True, highlight=False)
    requests = select_requests(arguments)
    model = find_model(arguments.url, arguments.model)
    arguments = msgspec.structs.replace(
        arguments,
        model=model.name,
        max_context_tokens=arguments.max_context_tokens or model.max_context_tokens,
    )
    load = make_load(arguments, requests)
    endpoint = Endpoint(
        arguments.url,
        model.name,
        ignore_eos=arguments.ignore_eos,
        seed=arguments.seed,
        cache_salt=secrets.token_hex(16),
    )
    notes.print(
        f"{len(load.streams):,} requests over {load.streams[-1].arrival_s:.0f} s "
        f"to {escape(endpoint.base_url)} ({escape(endpoint.model)})"
    )
    with (
        progress_bar(notes) as shown,
        exposed(arguments.metrics_port, shown) as on_progress,
    ):
        streams = run_load(load, endpoint, on_progress=on_progress)
    _report(arguments, load, streams, notes)
    if was_interrupted(load, streams):
        return INTERRUPTED
    return int(all(stream.error for stream in streams))


def was_interrupted(load: Load, streams: list[Stream]) -> bool:
    """Whether the run was stopped before every stream of the load had ended."""
    return len(streams) < len(load.streams) or any(s.error == CANCELLED for s in streams)


def select_requests(arguments: BenchArguments) -> list[Request]:
    """The requests of the measured window, from the trace or the synthetic load.

    Raises:
        UserError: A bad trace, or no request in the window.
    """
    duration_s = arguments.duration_s
    if arguments.trace is not None:
        requests = read_trace(arguments.trace)
    else:
        shape = BurstShape(
            rate=arguments.rate,
            intensity=arguments.intensity,
            burst_share=arguments.burst_share,
            cycle_s=arguments.cycle_s,
            input_tokens=arguments.input_tokens,
            output_tokens=arguments.output_tokens,
        )
        duration_s = duration_s or shape.cycle_s / arguments.time_scale
        end_s = arguments.start_s + duration_s * arguments.time_scale
        requests = cyclic_burst(shape, duration_s=end_s, seed=arguments.seed)
    window = select(
        requests,
        start_s=arguments.start_s,
        duration_s=duration_s,
        rate_scale=arguments.rate_scale,
        time_scale=arguments.time_scale,
        seed=arguments.seed,
    )
    if not window:
        raise UserError(
            "no request arrives in the window of --start-s, --duration-s and --rate-scale."
        )
    return window


def describe(load: BenchArguments, requests: Sequence[Request]) -> str:
    """What is sent, in one sentence."""
    source = "synthetic bursts" if load.trace is None else load.trace.name
    span_s = max(request.arrival_s for request in requests)
    return (
        f"{len(requests):,} requests of {source} in {span_s:.0f} s, "
        f"readers of profile {load.profile}"
    )


def make_load(arguments: BenchArguments, requests: list[Request]) -> Load:
    """The requests with their readers, clipped to what the arguments allow."""
    return plan_load(
        requests,
        PROFILES[arguments.profile],
        ttft_s=arguments.ttft_s,
        tds=arguments.tds,
        patience_s=arguments.patience_s,
        max_context_tokens=arguments.max_context_tokens,
        max_output_tokens=arguments.max_output_tokens,
        seed=arguments.seed,
    )


def _report(
    arguments: BenchArguments, load: Load, streams: list[Stream], notes: Console
) -> None:
    if all(stream.error == CANCELLED for stream in streams):
        raise UserError(
            "stopped before any stream ended: nothing to report.", exit_code=INTERRUPTED
        )
    summary = summarise(streams, clipped=load.clipped)
    Console().print(render_table([(escape(arguments.label), summary)]))
    for caveat in caveats(summary, streams):
        notes.print(f"[yellow]![/yellow] {escape(caveat)}", soft_wrap=True)
    if arguments.json is not None:
        result = Result(
            label=arguments.label,
            arguments=msgspec.to_builtins(arguments, enc_hook=str),
            environment=environment(),
            summary=summary,
            streams=streams,
        )
        write_result(arguments.json, result)
        notes.print(f"wrote {escape(str(arguments.json))}")
    if arguments.plot is not None:
        from bench.plot import plot_runs  # noqa: PLC0415 - matplotlib takes a second

        plot_runs({arguments.label: streams}, arguments.plot)
        notes.print(f"wrote {escape(str(arguments.plot))}")
