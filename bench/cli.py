"""The `andes` command: one thin function per subcommand.

A command imports what it runs inside its function, so that `andes --help` stays fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from bench import options
from bench.arguments import BenchArguments, refuse_synthetic_options
from bench.errors import UserError

# Only the defaults are read from it; arguments without a load are refused.
_DEFAULTS = BenchArguments(synthetic=True)


class _OneLineErrors(TyperGroup):
    """A person's mistake ends in one line on stderr; only bugs show a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except typer.TyperException as error:
            _fail(error.format_message(), error.exit_code)
        except UserError as error:
            _fail(str(error), error.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=_OneLineErrors,
    help="Andes: keep every reader reading.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _root(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command()
def bench(  # noqa: PLR0913 - typer reads the options off the signature
    *,
    ctx: typer.Context,
    trace: options.Trace = _DEFAULTS.trace,
    synthetic: options.Synthetic = False,
    start_s: options.StartS = _DEFAULTS.start_s,
    duration_s: options.DurationS = _DEFAULTS.duration_s,
    rate_scale: options.RateScale = _DEFAULTS.rate_scale,
    time_scale: options.TimeScale = _DEFAULTS.time_scale,
    rate: options.Rate = _DEFAULTS.rate,
    intensity: options.Intensity = _DEFAULTS.intensity,
    burst_share: options.BurstShare = _DEFAULTS.burst_share,
    cycle_s: options.CycleS = _DEFAULTS.cycle_s,
    input_tokens: options.InputTokens = _DEFAULTS.input_tokens,
    output_tokens: options.OutputTokens = _DEFAULTS.output_tokens,
    profile: options.Profile = _DEFAULTS.profile,
    ttft_s: options.TtftS = _DEFAULTS.ttft_s,
    tds: options.Tds = _DEFAULTS.tds,
    url: options.Url = _DEFAULTS.url,
    model: options.Model = _DEFAULTS.model,
    max_context_tokens: options.MaxContextTokens = _DEFAULTS.max_context_tokens,
    max_output_tokens: options.MaxOutputTokens = _DEFAULTS.max_output_tokens,
    seed: options.Seed = _DEFAULTS.seed,
    ignore_eos: options.IgnoreEos = _DEFAULTS.ignore_eos,
    label: options.Label = _DEFAULTS.label,
    json: options.Json = _DEFAULTS.json,
    plot: options.Plot = _DEFAULTS.plot,
) -> None:
    """Stream a load against an OpenAI-compatible endpoint and score what readers got.

    Requests leave at their arrival times whatever the server does, and every
    token is timed from the moment its reader meant to send the request.

    [bold]andes bench --synthetic --rate 8 --duration-s 30[/bold]

    [bold]andes bench --trace azure_conv.csv --time-scale 4 --plot run.png[/bold]
    """
    from bench.live import run_bench  # noqa: PLC0415

    arguments = BenchArguments(**ctx.params)
    if arguments.trace is not None:
        refuse_synthetic_options(ctx)
    raise typer.Exit(run_bench(arguments))


@app.command()
def demo(  # noqa: PLR0913 - typer reads the options off the signature
    *,
    trace: options.Trace = None,
    pairs: options.Pairs = 3,
    kv_blocks: options.KvBlocks = 64,
    start_s: options.StartS = 600.0,
    duration_s: options.DurationS = 45.0,
    rate_scale: options.RateScale = 1.0,
    time_scale: options.TimeScale = 1.0,
    rate: options.Rate = _DEFAULTS.rate,
    profile: options.Profile = _DEFAULTS.profile,
    ttft_s: options.TtftS = None,
    tds: options.Tds = None,
    max_output_tokens: options.MaxOutputTokens = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    out: options.Out = Path("docs/results"),
) -> None:
    """Run the same load on the same service under fcfs and under andes, in turns.

    Each run starts the whole service of serve_config.yaml. Without its trace file,
    the load is synthetic bursts of the same shape.
    """
    from bench.demo import demo_command  # noqa: PLC0415

    load = BenchArguments(
        trace=trace if trace and trace.exists() else None,
        synthetic=not (trace and trace.exists()),
        start_s=start_s if trace and trace.exists() else 0.0,
        duration_s=duration_s,
        rate_scale=rate_scale,
        time_scale=time_scale,
        rate=rate,
        profile=profile,
        ttft_s=ttft_s,
        tds=tds,
        max_output_tokens=max_output_tokens,
        seed=seed,
    )
    raise typer.Exit(demo_command(load, pairs, kv_blocks, config, out))


@app.command()
def microbench(
    *,
    streams: options.Sizes = None,
    steps: options.Steps = 400,
    json: options.MicrobenchJson = None,
) -> None:
    """Measure the planner beside vLLM's own scheduling, interleaved in one run.

    Both are real scheduler objects in virtual time: no model runs, no GPU is needed.
    """
    from bench.microbench import DEFAULT_SIZES, run_microbench  # noqa: PLC0415

    run_microbench(streams or DEFAULT_SIZES, steps, json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `andes` command and exit with its code."""
    app(arguments)


def _fail(message: str, exit_code: int) -> None:
    line = Text.assemble(("andes: ", "bold red"), " ".join(message.split()))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)
    sys.exit(exit_code)
