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

from bench.arguments import BenchArguments, refuse_synthetic_options
from bench.errors import INTERRUPTED, UserError
from bench.fidelity.arguments import DEFAULT_LOAD, fidelity_arguments
from bench.fidelity.arguments import SYNTHETIC_ONLY as FIDELITY_SYNTHETIC_ONLY
from bench.fleet.arguments import ONE_REPLICA
from bench.grid.arguments import grid_arguments
from bench.interrupt import sigterm_as_ctrl_c
from bench.options import fidelity as faithful
from bench.options import fleet as fleeted
from bench.options import grid as gridded
from bench.options import live, load, measure
from bench.options import replay as replayed
from bench.replay.arguments import SYNTHETIC_ONLY as REPLAY_SYNTHETIC_ONLY
from bench.replay.arguments import ReplayArguments, replay_arguments

# Only the defaults are read from it; arguments without a load are refused.
_DEFAULTS = BenchArguments(synthetic=True)
_REPLAY = ReplayArguments(synthetic=True)


class _OneLineErrors(TyperGroup):
    """A person's mistake ends in one line on stderr; only bugs show a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            with sigterm_as_ctrl_c():
                code = super().main(*args, **kwargs)
        except typer.TyperException as error:
            _fail(error.format_message(), error.exit_code)
        except UserError as error:
            _fail(str(error), error.exit_code)
        except (KeyboardInterrupt, typer.Abort):
            _fail("stopped.", INTERRUPTED)
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
    trace: load.Trace = _DEFAULTS.trace,
    synthetic: load.Synthetic = False,
    start_s: load.StartS = _DEFAULTS.start_s,
    duration_s: load.DurationS = _DEFAULTS.duration_s,
    rate_scale: load.RateScale = _DEFAULTS.rate_scale,
    time_scale: load.TimeScale = _DEFAULTS.time_scale,
    rate: load.Rate = _DEFAULTS.rate,
    intensity: load.Intensity = _DEFAULTS.intensity,
    burst_share: load.BurstShare = _DEFAULTS.burst_share,
    cycle_s: load.CycleS = _DEFAULTS.cycle_s,
    input_tokens: load.InputTokens = _DEFAULTS.input_tokens,
    output_tokens: load.OutputTokens = _DEFAULTS.output_tokens,
    profile: load.Profile = _DEFAULTS.profile,
    ttft_s: load.TtftS = _DEFAULTS.ttft_s,
    tds: load.Tds = _DEFAULTS.tds,
    url: live.Url = _DEFAULTS.url,
    model: live.Model = _DEFAULTS.model,
    max_context_tokens: live.MaxContextTokens = _DEFAULTS.max_context_tokens,
    max_output_tokens: live.MaxOutputTokens = _DEFAULTS.max_output_tokens,
    seed: load.Seed = _DEFAULTS.seed,
    ignore_eos: live.IgnoreEos = _DEFAULTS.ignore_eos,
    label: live.Label = _DEFAULTS.label,
    json: live.Json = _DEFAULTS.json,
    plot: live.Plot = _DEFAULTS.plot,
    metrics_port: live.MetricsPort = _DEFAULTS.metrics_port,
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
def replay(  # noqa: PLR0913 - typer reads the options off the signature
    *,
    ctx: typer.Context,
    trace: load.Trace = _REPLAY.trace,
    synthetic: load.Synthetic = False,
    lengths: replayed.Lengths = _REPLAY.lengths,
    rate: replayed.Rate = _REPLAY.rate,
    duration_s: replayed.DurationS = _REPLAY.duration_s,
    intensity: load.Intensity = _REPLAY.intensity,
    burst_share: load.BurstShare = _REPLAY.burst_share,
    cycle_s: replayed.CycleS = _REPLAY.cycle_s,
    ttft_s: replayed.TtftS = str(_REPLAY.ttft_s),
    tds: replayed.Tds = str(_REPLAY.tds),
    profile: replayed.Profile = _REPLAY.profile,
    kv_tokens: replayed.KvTokens = _REPLAY.kv_tokens,
    resume: replayed.Resume = _REPLAY.resume,
    scheduler: replayed.Scheduler = None,
    settings: replayed.Settings = None,
    replicas: fleeted.Replicas = None,
    router: fleeted.Router = None,
    router_count: fleeted.RouterCount = ONE_REPLICA.router_count,
    report_period_s: fleeted.ReportPeriodS = ONE_REPLICA.report_period_s,
    report_delay_s: fleeted.ReportDelayS = ONE_REPLICA.report_delay_s,
    report_loss: fleeted.ReportLoss = ONE_REPLICA.report_loss,
    replica_speeds: fleeted.ReplicaSpeeds = None,
    at: fleeted.At = None,
    resume_elsewhere: fleeted.ResumeElsewhere = False,
    direct_streaming: fleeted.DirectStreaming = False,
    seed: replayed.Seed = _REPLAY.seed,
    json: replayed.Json = _REPLAY.json,
    plot: replayed.Plot = _REPLAY.plot,
) -> None:
    """Replay a load through real vLLM schedulers in virtual time, side by side.

    No model runs and no GPU is needed: a profile says what a step costs.

    [bold]andes replay --synthetic --rate 8 --kv-tokens 60000[/bold]

    [bold]andes replay --trace azure_conv.csv --rate 30 --plot replay.png[/bold]

    [bold]andes replay --synthetic --rate 40 --replicas 4 --router pow2 --router qoe
    --at '30 kill 2'[/bold]
    """
    from bench.replay.command import run_replay  # noqa: PLC0415

    arguments = replay_arguments(ctx.params)
    if arguments.trace is not None:
        refuse_synthetic_options(ctx, REPLAY_SYNTHETIC_ONLY)
    raise typer.Exit(run_replay(arguments))


@app.command()
def grid(  # noqa: PLR0913 - typer reads the options off the signature
    *,
    ctx: typer.Context,
    regime: gridded.RegimeName = None,
    seeds: gridded.Seeds = None,
    cycle_s: gridded.CycleS = None,
    jobs: gridded.Jobs = None,
    sharegpt: gridded.Sharegpt = None,
    azure: gridded.Azure = None,
    quick: gridded.Quick = False,
    out: gridded.Out = None,
    partial: gridded.Partial = False,
    redraw: gridded.Redraw = False,
) -> None:
    """Make the evidence: replays of every scheduler over bursts, rates and engines.

    It measures what fcfs can serve without bursts, and loads every engine around that.
    The default takes about half an hour on two cores.

    [bold]andes grid --quick --regime C --out /tmp/grid[/bold]
    """
    from bench.grid.command import run_grid  # noqa: PLC0415

    raise typer.Exit(run_grid(grid_arguments(ctx.params)))


@app.command()
def demo(  # noqa: PLR0913 - typer reads the options off the signature
    *,
    trace: load.Trace = None,
    pairs: measure.Pairs = 3,
    kv_blocks: measure.KvBlocks = 64,
    start_s: load.StartS = 600.0,
    duration_s: load.DurationS = 45.0,
    rate_scale: load.RateScale = 1.0,
    time_scale: load.TimeScale = 1.0,
    rate: load.Rate = _DEFAULTS.rate,
    profile: load.Profile = _DEFAULTS.profile,
    ttft_s: load.TtftS = None,
    tds: load.Tds = None,
    max_output_tokens: live.MaxOutputTokens = None,
    seed: load.Seed = 0,
    config: measure.Config = None,
    out: measure.Out = Path("docs/results"),
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
    streams: measure.Sizes = None,
    replicas: measure.Fleets = None,
    steps: measure.Steps = 400,
    json: measure.MicrobenchJson = None,
) -> None:
    """Measure the planner beside vLLM's own scheduling, and the router beside taking turns.

    Each pair is interleaved in one run. All are the real objects in virtual time: no model
    runs, no GPU is needed.
    """
    from bench.decisionbench import DEFAULT_FLEETS  # noqa: PLC0415
    from bench.microbench import DEFAULT_SIZES, run_microbench  # noqa: PLC0415

    run_microbench(streams or DEFAULT_SIZES, replicas or DEFAULT_FLEETS, steps, json)


@app.command()
def fidelity(  # noqa: PLR0913 - typer reads the options off the signature
    *,
    ctx: typer.Context,
    trace: load.Trace = None,
    start_s: load.StartS = DEFAULT_LOAD.start_s,
    duration_s: load.DurationS = DEFAULT_LOAD.duration_s,
    rate_scale: load.RateScale = DEFAULT_LOAD.rate_scale,
    time_scale: load.TimeScale = DEFAULT_LOAD.time_scale,
    rate: load.Rate = DEFAULT_LOAD.rate,
    intensity: load.Intensity = DEFAULT_LOAD.intensity,
    burst_share: load.BurstShare = DEFAULT_LOAD.burst_share,
    cycle_s: load.CycleS = DEFAULT_LOAD.cycle_s,
    profile: load.Profile = DEFAULT_LOAD.profile,
    seed: load.Seed = DEFAULT_LOAD.seed,
    kv_blocks: measure.KvBlocks = 64,
    repeats: faithful.Repeats = 3,
    clock: faithful.Clock = "cpu",
    out: faithful.Out = Path("docs/results"),
) -> None:
    """Compare a replay with the real engine: the same load, and the error of each number.

    The engine is vLLM on a CPU with the tiny model. A step's cost is fitted to it right
    before and after each run. The load is synthetic bursts unless there is a trace.
    """
    from bench.fidelity.command import run_fidelity  # noqa: PLC0415

    if trace is not None:
        refuse_synthetic_options(ctx, FIDELITY_SYNTHETIC_ONLY)
    raise typer.Exit(run_fidelity(fidelity_arguments(ctx.params)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `andes` command and exit with its code."""
    app(arguments)


def _fail(message: str, exit_code: int) -> None:
    line = Text.assemble(("andes: ", "bold red"), " ".join(message.split()))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)
    sys.exit(exit_code)
