"""Commands that load a service, or look at one."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from bench.arguments import BenchArguments, refuse_synthetic_options
from bench.commandline import published
from bench.options import live, load, measure, routing
from bench.options import soak as soaking
from bench.options import top as looks

# Only the defaults are read from it; arguments without a load are refused.
_DEFAULTS = BenchArguments(synthetic=True)


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
    patience_s: load.PatienceS = _DEFAULTS.patience_s,
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


def demo(  # noqa: PLR0913 - typer reads the options off the signature
    *,
    trace: load.Trace = None,
    start_s: load.StartS = 600.0,
    duration_s: measure.DemoDurationS = 45.0,
    rate: measure.DemoRate = None,
    pairs: measure.Pairs = 3,
    kv_blocks: measure.KvBlocks = 64,
    profile: load.Profile = _DEFAULTS.profile,
    seed: load.Seed = 0,
    config: measure.Config = None,
    out: measure.Out = Path("docs/results"),
    redraw: measure.Redraw = False,
) -> None:
    """Run the same load on the same service under fcfs and under andes, in turns.

    It probes the machine first, and sends so much that fcfs fails some readers. Each run
    starts the whole service of serve_config.yaml. Without its trace file, the load is
    synthetic bursts of the same shape.
    """
    from bench.demo.command import DemoArguments, redraw_demo, run_demo  # noqa: PLC0415
    from deployments.service_config import DEFAULT_CONFIG  # noqa: PLC0415

    if redraw:
        raise typer.Exit(redraw_demo(out))
    found = trace is not None and trace.exists()
    window = BenchArguments(
        trace=trace if found else None,
        synthetic=not found,
        start_s=start_s if found else 0.0,
        duration_s=duration_s,
        profile=profile,
        seed=seed,
    )
    arguments = DemoArguments(
        load=window,
        duration_s=duration_s,
        command=published(sys.argv[1:]),
        rate=rate,
        pairs=pairs,
        kv_blocks=kv_blocks,
        config=config or DEFAULT_CONFIG,
        out=out,
    )
    raise typer.Exit(run_demo(arguments))


def paths(
    *,
    rounds: measure.Rounds = 3,
    rate: load.Rate = 2.0,
    duration_s: routing.DurationS = 40.0,
    input_tokens: load.InputTokens = 64,
    output_tokens: load.OutputTokens = 128,
    seed: load.Seed = 0,
    config: measure.Config = None,
    out: measure.Out = Path("docs/results"),
) -> None:
    """Measure the ways to a client: direct streaming and handles, by QoE and by turns.

    The same light load through each of the four, in turns: time to the first token,
    tokens/s, and the CPU time that 1,000 tokens cost around the engines.
    """
    from bench.paths.command import PathsArguments, run_paths  # noqa: PLC0415
    from deployments.service_config import DEFAULT_CONFIG  # noqa: PLC0415

    load = BenchArguments(
        synthetic=True,
        rate=rate,
        intensity=1.0,
        duration_s=duration_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        seed=seed,
    )
    arguments = PathsArguments(
        load=load,
        rounds=rounds,
        config=config or DEFAULT_CONFIG,
        out=out,
        command=published(sys.argv[1:]),
    )
    raise typer.Exit(run_paths(arguments))


def top(
    *,
    url: looks.Pages = None,
    every_s: looks.EveryS = 2.0,
    once: looks.Once = False,
) -> None:
    """Watch the fleet: memory, streams and QoE of every replica, and the router.

    Replicas are heard of every 10 s. Tokens/s are those of the last 20 s, once it has run
    that long. QoE is the mean of the streams that ended in that time, or ever; below target
    counts those in the engines now. Ctrl-C ends it.
    """
    from bench.top.command import run_top  # noqa: PLC0415

    if not url:
        from bench.top.targets import find_pages  # noqa: PLC0415

        url = find_pages()
    run_top(url, every_s, once=once)


def soak(
    *,
    duration_s: soaking.DurationS = 1800.0,
    rate: soaking.Rate = 1.5,
    seed: load.Seed = 0,
    streaming: soaking.Way = "direct",
    faults: soaking.Faults = True,
    config: measure.Config = None,
    json: soaking.Json = None,
    publish: soaking.Publish = False,
) -> None:
    """Soak the real service in mixed traffic and faults, and check that nothing is lost.

    Short and long streams, slow readers, clients that leave in every way, bad requests and
    bursts, while replicas, engines, router and HAProxy are killed or frozen in turns. Every
    token is compared with the undisturbed answer. The exit code is 1 if a check fails.
    """
    from bench.soak.command import SoakArguments, run_soak  # noqa: PLC0415
    from deployments.service_config import DEFAULT_CONFIG  # noqa: PLC0415

    arguments = SoakArguments(
        duration_s=duration_s,
        rate=rate,
        seed=seed,
        streaming=streaming,
        faults=faults,
        config=config or DEFAULT_CONFIG,
        json=json,
        publish=publish,
        command=published(sys.argv[1:]),
    )
    raise typer.Exit(run_soak(arguments))
