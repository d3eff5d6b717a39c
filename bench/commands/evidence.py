"""Commands that make the numbers of `docs/results`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from bench.arguments import refuse_synthetic_options
from bench.commandline import published
from bench.errors import UserError
from bench.fidelity.arguments import DEFAULT_LOAD, SYNTHETIC_ONLY, fidelity_arguments
from bench.options import evidence as evident
from bench.options import fidelity as faithful
from bench.options import load, measure
from bench.options import routing as routed
from bench.routing.arguments import RoutingArguments, lengths_found

DEFAULT_OUT = Path("docs/results")


def evidence(
    *,
    family: evident.Families = None,
    seeds: evident.Seeds = None,
    jobs: evident.Jobs = None,
    quick: evident.Quick = False,
    out: evident.Out = None,
    partial: evident.Partial = False,
    redraw: evident.Redraw = False,
) -> None:
    """Make the page of the policy: it, every baseline and the bound, on every load family.

    What has ended is kept beside the page, and the next call runs only what is missing. The
    default takes about an hour on two cores. A checkout with its dev extra has what it
    needs.

    [bold]andes evidence --quick --out /tmp/evidence[/bold]
    """
    try:
        from evidence.policy.command import EvidenceArguments, run_evidence  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UserError(
            f"andes evidence needs a checkout and its dev extra: there is no {error.name}."
        ) from None

    if quick and out is None:
        raise UserError(f"--quick needs --out DIR: {DEFAULT_OUT} is for all of it.")
    raise typer.Exit(
        run_evidence(
            EvidenceArguments(
                families=tuple(family or ()),
                seeds=seeds,
                jobs=jobs or os.cpu_count() or 1,
                quick=quick,
                out=out or DEFAULT_OUT,
                partial=partial,
                redraw=redraw,
                command=published(sys.argv[1:]),
            )
        )
    )


def routers(
    *,
    seeds: routed.Seeds = None,
    duration_s: routed.DurationS = 100.0,
    lengths: routed.Lengths = None,
    jobs: evident.Jobs = None,
    out: evident.Out = None,
    redraw: evident.Redraw = False,
) -> None:
    """Compare routers on the same loads: equal and unequal replicas, old and lost reports.

    Eight real schedulers behind the real routing code, once for each router and seed. The
    default takes about half an hour on two cores.
    """
    from bench.routing.command import run_routing  # noqa: PLC0415

    raise typer.Exit(
        run_routing(
            RoutingArguments(
                seeds=seeds,
                duration_s=duration_s,
                lengths=lengths_found(lengths),
                jobs=jobs or os.cpu_count() or 1,
                out=out or DEFAULT_OUT,
                redraw=redraw,
                command=published(sys.argv[1:]),
            )
        )
    )


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
        refuse_synthetic_options(ctx, SYNTHETIC_ONLY)
    raise typer.Exit(run_fidelity(fidelity_arguments(ctx.params)))


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
