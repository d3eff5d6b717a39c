"""Commands that replay a load of your own."""

from __future__ import annotations

import sys

import typer

from bench.arguments import refuse_synthetic_options
from bench.commandline import published
from bench.errors import UserError
from bench.fleet.arguments import ONE_REPLICA
from bench.options import bound as bounded
from bench.options import fleet as fleeted
from bench.options import load
from bench.options import plan as planned
from bench.options import replay as replayed
from bench.plan.arguments import PlanArguments, plan_arguments
from bench.replay.arguments import (
    SYNTHETIC_ONLY,
    ReplayArguments,
    Scenario,
    replay_arguments,
)

# Only the defaults are read from them; arguments without a load are refused.
_REPLAY = ReplayArguments(synthetic=True)
_PLAN = PlanArguments(synthetic=True)


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
    patience_s: load.PatienceS = _REPLAY.patience_s,
    profile: replayed.Profile = _REPLAY.profile,
    kv_tokens: replayed.KvTokens = _REPLAY.kv_tokens,
    resume: replayed.Resume = _REPLAY.resume,
    scheduler: replayed.Scheduler = None,
    settings: replayed.Settings = None,
    replicas: fleeted.Replicas = None,
    workers: fleeted.Workers = None,
    router: fleeted.Router = None,
    router_count: fleeted.RouterCount = ONE_REPLICA.router_count,
    report_period_s: fleeted.ReportPeriodS = ONE_REPLICA.report_period_s,
    report_delay_s: fleeted.ReportDelayS = ONE_REPLICA.report_delay_s,
    report_loss: fleeted.ReportLoss = ONE_REPLICA.report_loss,
    replica_speeds: fleeted.ReplicaSpeeds = None,
    at: fleeted.At = None,
    resume_elsewhere: fleeted.ResumeElsewhere = False,
    direct_streaming: fleeted.DirectStreaming = False,
    autoscale: fleeted.Autoscale = None,
    min_replicas: fleeted.MinReplicas = ONE_REPLICA.min_replicas,
    max_replicas: fleeted.MaxReplicas = ONE_REPLICA.max_replicas,
    startup_s: fleeted.StartupS = ONE_REPLICA.startup_s,
    autoscale_period_s: fleeted.AutoscalePeriodS = ONE_REPLICA.autoscale_period_s,
    page: fleeted.Page = None,
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

    [bold]andes replay --synthetic --rate 40 --replicas 2 --autoscale qoe
    --autoscale ongoing,target_ongoing_requests=60 --plot scaling.png[/bold]
    """
    from bench.replay.command import run_replay  # noqa: PLC0415

    arguments = replay_arguments(ctx.params)
    if arguments.trace is not None:
        refuse_synthetic_options(ctx, SYNTHETIC_ONLY)
    raise typer.Exit(run_replay(arguments, published(sys.argv[1:])))


def plan(  # noqa: PLR0913 - typer reads the options off the signature
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
    target: planned.Targets = None,
    contender: planned.Contenders = None,
    max_replicas: planned.MaxReplicas = _PLAN.max_replicas,
    settings: replayed.Settings = None,
    workers: planned.NumWorkers = None,
    seed: replayed.Seed = _REPLAY.seed,
    json: replayed.Json = _REPLAY.json,
    plot: replayed.Plot = _REPLAY.plot,
    page: planned.Page = None,
) -> None:
    """Find the fewest replicas that give readers what is asked for, by replays.

    [bold]andes plan --trace azure_conv.csv --rate 30 --target 'mean>=0.95'[/bold]

    [bold]andes plan --synthetic --rate 20 --target 'p5>=0.8' --contender fcfs+pow2
    --contender andes+kv_ledger --plot plan.png[/bold]
    """
    from bench.plan.command import run_plan  # noqa: PLC0415

    arguments = plan_arguments(ctx.params)
    if arguments.trace is not None:
        refuse_synthetic_options(ctx, SYNTHETIC_ONLY)
    raise typer.Exit(run_plan(arguments, published(sys.argv[1:])))


def bound(  # noqa: PLR0913 - typer reads the options off the signature
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
    seed: replayed.Seed = _REPLAY.seed,
    bin_s: bounded.BinS = 4.0,
    time_limit_s: bounded.TimeLimitS = 600.0,
) -> None:
    """Bound the share of streams that any schedule of one engine can keep from being late.

    It holds for schedules that know the future as well. A checkout with its dev extra has
    what it needs.

    [bold]andes bound --synthetic --rate 8 --kv-tokens 60000[/bold]
    """
    try:
        from evidence.command import run_bound  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UserError(
            f"andes bound needs a checkout and its dev extra: there is no {error.name}."
        ) from None

    given = {
        name: ctx.params[name] for name in Scenario.__struct_fields__ if name in ctx.params
    }
    if trace is not None:
        refuse_synthetic_options(ctx, SYNTHETIC_ONLY)
    raise typer.Exit(run_bound(Scenario(**given), bin_s, time_limit_s))
