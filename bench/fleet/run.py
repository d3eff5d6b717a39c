"""One scheduler behind one routing policy in virtual time: picklable and silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from bench.fleet.arguments import Fleet
from bench.fleet.book import Book
from bench.fleet.fleet import FleetRun, variation
from bench.fleet.load import LoadColumns
from bench.fleet.members import Members
from bench.fleet.replica import Replica, TellingScheduler
from bench.fleet.results import (
    FleetSummary,
    Imbalance,
    ReplicaSummary,
    ScalingSummary,
)
from bench.fleet.routers import Routers
from bench.fleet.scaling import Scaler, Scaling
from bench.fleet.timeline import Clock
from bench.replay.arguments import Cell
from bench.replay.profiles import latency_profile
from bench.replay.results import OnProgress, Run, plan_ms
from bench.replay.run import MeteredEngine, engine_size, largest_stream, with_kv_for_all
from bench.replay.schedulers import SCHEDULERS, settings_of
from bench.replay.workload import is_possible, plan_workload
from bench.scores import percentile
from router.settings import PolicyName


def replay_fleet(
    cell: Cell,
    fleet: Fleet,
    router: PolicyName,
    on_progress: OnProgress | None = None,
    scaling: Scaling | None = None,
) -> Run:
    """Replay the load of a cell through many replicas of its engine.

    The same arguments give the same run, `plan_ms` aside.

    Args:
        cell: Load, engine and scheduler.
        fleet: The replicas at the start, and what happens to them.
        router: Of every router.
        on_progress: Called whenever a stream has ended.
        scaling: Who changes the number of replicas; None is nobody.

    Raises:
        UserError: A bad file, profile or setting, or a load without requests.
        RuntimeError: A scheduler holds streams and serves none of them.
    """
    load = LoadColumns(plan_workload(cell))
    limit_tokens = largest_stream(engine_size(cell, latency_profile(cell.profile)))
    rows = [row for row, stream in enumerate(load) if is_possible(stream, limit_tokens)]
    book = Book(load, len(load) - len(rows), on_progress)
    members = Members(_maker(cell, fleet, load, rows))
    clock = Clock()
    routers = Routers(
        router,
        fleet.router_count,
        clock,
        loss=fleet.report_loss,
        seed=cell.seed,
        tells_of_ends=not fleet.direct_streaming,
    )
    scaler = _scaler(scaling, fleet)
    run = FleetRun(fleet, members, routers, load, rows, book, clock, scaler)
    run.run()
    replicas, makespan_s = members.replicas, book.scores.makespan_s
    summary = FleetSummary(
        **msgspec.structs.asdict(book.scores.quality()),
        **_engine_numbers(replicas, len(load)),
        refused=len(load) - len(rows),
        makespan_s=makespan_s,
        router=router,
        replicas=tuple(_replica_summary(replica, book) for replica in replicas),
        imbalance=_imbalance(replicas, book, run.demand_cvs),
        failed=book.failed,
        rerouted=book.rerouted,
        resumed=book.resumed,
        moved=book.moved,
        fallbacks=routers.fallbacks,
        gpu_seconds=members.held_s(makespan_s) * latency_profile(cell.profile).tp,
        scaling=_scaling_summary(scaling, scaler, run, members, fleet),
    )
    failures = sum(r.engine.scheduler.plan_failures_total for r in replicas)
    label = scaling.label if scaling else None
    return Run(cell.scheduler, summary, book.scores, failures, router, label)


def _scaler(scaling: Scaling | None, fleet: Fleet) -> Scaler | None:
    if scaling is None:
        return None
    # Ray takes seconds to import, and a fleet of one size needs none of it.
    from bench.fleet.scalers import scaler_of  # noqa: PLC0415

    return scaler_of(scaling, fleet)


def _maker(
    cell: Cell, fleet: Fleet, load: LoadColumns, rows: Sequence[int]
) -> Callable[[int, float], Replica]:
    """Makes the replica of a number; those beyond the first ones have the speed 1."""
    profile = latency_profile(cell.profile)
    settings = settings_of(cell, profile)
    if fleet.report_period_s is not None:
        settings = settings.model_copy(update={"report_period_s": fleet.report_period_s})
    size = engine_size(cell, profile)
    if SCHEDULERS[cell.scheduler].has_kv_for_all:
        size = with_kv_for_all(size, map(load.__getitem__, rows))
    speeds = dict(enumerate(fleet.speeds))

    def make(number: int, now_s: float) -> Replica:
        replica = Replica(number, speeds.get(number, 1.0))
        engine = MeteredEngine(
            settings,
            size,
            cost=profile.cost,
            scheduler_cls=TellingScheduler,
            on_done=replica.ended,
        )
        replica.attach(engine, now_s)
        return replica

    return make


def _scaling_summary(
    scaling: Scaling | None,
    scaler: Scaler | None,
    run: FleetRun,
    members: Members,
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
        steps=tuple(members.steps),
        steps_left_out=members.steps_left_out,
    )


def _engine_numbers(replicas: Sequence[Replica], num_requests: int) -> dict[str, Any]:
    return {
        "preemptions_per_request": sum(map(_preemptions, replicas)) / num_requests,
        "peak_waiting": max(replica.engine.peak_waiting for replica in replicas),
        "plan_ms": plan_ms(replica.engine.plans_s for replica in replicas),
    }


def _preemptions(replica: Replica) -> int:
    preemptions: int = replica.engine.scheduler.streams.preemptions_total
    return preemptions


def _replica_summary(replica: Replica, book: Book) -> ReplicaSummary:
    area = book.scores.area[book.replica_of == replica.number]
    makespan_s = book.scores.makespan_s
    return ReplicaSummary(
        requests=area.size,
        mean_qoe_area=float(area.mean()) if area.size else None,
        p5_qoe_area=percentile(area, 5) if area.size else None,
        tokens_per_s=replica.engine.scheduler.streams.tokens_total / makespan_s,
        preemptions=_preemptions(replica),
        busy_share=replica.busy_s / makespan_s,
    )


def _imbalance(
    replicas: Sequence[Replica], book: Book, demand_cvs: Sequence[float]
) -> Imbalance:
    served = book.replica_of[book.replica_of >= 0]
    requests = np.bincount(served, minlength=len(replicas))
    return Imbalance(variation(requests.tolist()), float(np.mean(demand_cvs)))
