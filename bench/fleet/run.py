"""One scheduler behind one routing policy in virtual time: picklable and silent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
import numpy as np

from bench.fleet.arguments import Fleet
from bench.fleet.book import Book
from bench.fleet.fleet import FleetRun
from bench.fleet.load import LoadColumns
from bench.fleet.replica import Figures, ReplicaMaker
from bench.fleet.results import (
    FleetSummary,
    Imbalance,
    ReplicaSummary,
    ScalingSummary,
    variation,
)
from bench.fleet.routers import Routers
from bench.fleet.scaling import Scaler, Scaling
from bench.fleet.share import Engines, Share
from bench.fleet.timeline import Clock
from bench.fleet.workers import Workers
from bench.replay.arguments import Cell
from bench.replay.engine import IDLE_STEP_S
from bench.replay.profiles import latency_profile
from bench.replay.results import OnProgress, Run, plan_ms
from bench.replay.run import engine_size, largest_stream
from bench.replay.schedulers import settings_of
from bench.replay.workload import is_possible, plan_workload
from bench.scores import percentile
from router.settings import PolicyName


def replay_fleet(
    cell: Cell,
    fleet: Fleet,
    router: PolicyName,
    on_progress: OnProgress | None = None,
    scaling: Scaling | None = None,
    workers: Workers | None = None,
) -> Run:
    """Replay the load of a cell through many replicas of its engine.

    The same arguments give the same run, `plan_ms` aside.

    Args:
        cell: Load, engine and scheduler.
        fleet: The replicas at the start, and what happens to them.
        router: Of every router.
        on_progress: Called whenever a stream has ended.
        scaling: Who changes the number of replicas; None is nobody.
        workers: Play the replicas (`many_workers`); None is this process.

    Raises:
        UserError: A bad file, profile or setting, or a load without requests.
        RuntimeError: A scheduler holds streams and serves none of them.
    """
    load = LoadColumns(plan_workload(cell))
    limit_tokens = largest_stream(engine_size(cell, latency_profile(cell.profile)))
    rows = [row for row, stream in enumerate(load) if is_possible(stream, limit_tokens)]
    book = Book(load, len(load) - len(rows), on_progress)
    clock = Clock()
    routers = Routers(
        router,
        fleet.router_count,
        clock,
        loss=fleet.report_loss,
        seed=cell.seed,
        sees_ends=not fleet.direct_streaming,
    )
    scaler = _scaler(scaling, fleet)
    make = _maker(cell, fleet)
    engines: Engines = (
        Share(make)
        if workers is None
        else workers.engines(make, _lookahead_s(make, fleet, cell))
    )
    run = FleetRun(fleet, engines, routers, load, rows, book, clock, scaler)
    run.run()
    figures = engines.figures()
    summary = FleetSummary(
        **_readers_numbers(book, len(load) - len(rows)),
        **_engine_numbers(figures, len(load)),
        **_fleet_numbers(cell, fleet, run, figures, book),
        router=router,
        fallbacks=routers.fallbacks,
        scaling=_scaling_summary(scaling, scaler, run, fleet),
    )
    failures = sum(f.plan_failures_total for f in figures)
    label = scaling.label if scaling else None
    return Run(cell.scheduler, summary, book.scores, failures, router, label)


def many_workers(fleet: Fleet | None) -> AbstractContextManager[Workers | None]:
    """Those that a fleet asks for; None where one process is enough."""
    if fleet is None:
        return nullcontext()
    most = fleet.max_replicas if fleet.autoscale else fleet.replicas
    # More than one for each replica would have nothing to do.
    count = min(fleet.workers, most)
    return Workers(count) if count > 1 else nullcontext()


def _lookahead_s(make: ReplicaMaker, fleet: Fleet, cell: Cell) -> float:
    """What `Workers.engines` may count on, with room for rounding."""
    if cell.patience_s or "default_patience_s" in cell.settings:
        # A step that serves nobody may be the last one where streams are refused.
        return 0.0
    fastest = max(*fleet.speeds, *(f.speed for f in fleet.at if f.kind == "slow"), 1.0)
    report_s = IDLE_STEP_S + fleet.report_delay_s
    return 0.99 * min(make.cost.base_s / fastest, report_s)


def _scaler(scaling: Scaling | None, fleet: Fleet) -> Scaler | None:
    if scaling is None:
        return None
    # Ray takes seconds to import, and a fleet of one size needs none of it.
    from bench.fleet.scalers import scaler_of  # noqa: PLC0415

    return scaler_of(scaling, fleet)


def _maker(cell: Cell, fleet: Fleet) -> ReplicaMaker:
    profile = latency_profile(cell.profile)
    settings = settings_of(cell, profile)
    if fleet.report_period_s is not None:
        settings = settings.model_copy(update={"report_period_s": fleet.report_period_s})
    size = engine_size(cell, profile)
    times = fleet.engine_size
    return ReplicaMaker(
        settings, size.of_size(times), profile.cost.of_size(times), fleet.speeds
    )


def _scaling_summary(
    scaling: Scaling | None,
    scaler: Scaler | None,
    run: FleetRun,
    fleet: Fleet,
) -> ScalingSummary | None:
    if scaling is None or scaler is None:
        return None
    return ScalingSummary(
        policy=scaling.name,
        settings=scaler.settings,
        period_s=scaler.period_s,
        startup_s=fleet.startup_s,
        events=tuple(run.events),
        steps=tuple(run.members.steps),
        steps_left_out=run.members.steps_left_out,
    )


def _readers_numbers(book: Book, refused: int) -> dict[str, Any]:
    return msgspec.structs.asdict(book.scores.quality()) | {
        "refused": refused,
        "makespan_s": book.scores.makespan_s,
        "failed": book.failed,
        "out_of_patience": book.out_of_patience,
        "rerouted": book.rerouted,
        "resumed": book.resumed,
    }


def _fleet_numbers(
    cell: Cell, fleet: Fleet, run: FleetRun, figures: Sequence[Figures], book: Book
) -> dict[str, Any]:
    gpus = latency_profile(cell.profile).tp * fleet.engine_size
    return {
        "replicas": tuple(_replica_summary(f, book) for f in figures),
        "imbalance": _imbalance(len(figures), book, run.demand_cvs),
        "gpu_seconds": run.members.held_s(book.scores.makespan_s) * gpus,
    }


def _engine_numbers(figures: Sequence[Figures], num_requests: int) -> dict[str, Any]:
    return {
        "preemptions_per_request": sum(f.preemptions_total for f in figures) / num_requests,
        "peak_waiting": max(f.peak_waiting for f in figures),
        "plan_ms": plan_ms(f.plans_s for f in figures),
    }


def _replica_summary(figures: Figures, book: Book) -> ReplicaSummary:
    area = book.scores.area[book.replica_of == figures.number]
    makespan_s = book.scores.makespan_s
    return ReplicaSummary(
        requests=area.size,
        mean_qoe_area=float(area.mean()) if area.size else None,
        p5_qoe_area=percentile(area, 5) if area.size else None,
        tokens_per_s=figures.tokens_total / makespan_s,
        preemptions=figures.preemptions_total,
        busy_share=figures.busy_s / makespan_s,
    )


def _imbalance(num_replicas: int, book: Book, demand_cvs: Sequence[float]) -> Imbalance:
    served = book.replica_of[book.replica_of >= 0]
    requests = np.bincount(served, minlength=num_replicas)
    return Imbalance(variation(requests.tolist()), float(np.mean(demand_cvs)))
