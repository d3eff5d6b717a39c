"""One scheduler behind one routing policy in virtual time: picklable and silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from bench.fleet.arguments import Fleet
from bench.fleet.book import Book
from bench.fleet.fleet import Clock, FleetRun, variation
from bench.fleet.load import LoadColumns
from bench.fleet.replica import Replica, TellingScheduler
from bench.fleet.results import FleetSummary, Imbalance, ReplicaSummary
from bench.fleet.routers import Routers
from bench.replay.arguments import Cell
from bench.replay.profiles import latency_profile
from bench.replay.results import OnProgress, Run, plan_ms
from bench.replay.run import MeteredEngine, engine_size, largest_stream, with_kv_for_all
from bench.replay.schedulers import SCHEDULERS, settings_of
from bench.replay.workload import is_possible, plan_workload
from bench.scores import percentile
from router.settings import PolicyName


def replay_fleet(
    cell: Cell, fleet: Fleet, router: PolicyName, on_progress: OnProgress | None = None
) -> Run:
    """Replay the load of a cell through many replicas of its engine.

    The same arguments give the same run, `plan_ms` aside.

    Raises:
        UserError: A bad file, profile or setting, or a load without requests.
        RuntimeError: A scheduler holds streams and serves none of them.
    """
    load = LoadColumns(plan_workload(cell))
    limit_tokens = largest_stream(engine_size(cell, latency_profile(cell.profile)))
    rows = [row for row, stream in enumerate(load) if is_possible(stream, limit_tokens)]
    book = Book(load, len(load) - len(rows), on_progress)
    replicas = _replicas(cell, fleet, load, rows)
    clock = Clock()
    routers = Routers(
        router,
        fleet.router_count,
        clock,
        loss=fleet.report_loss,
        seed=cell.seed,
        tells_of_ends=not fleet.direct_streaming,
    )
    run = FleetRun(fleet, replicas, routers, load, rows, book, clock)
    run.run()
    summary = FleetSummary(
        **msgspec.structs.asdict(book.scores.quality()),
        **_engine_numbers(replicas, len(load)),
        refused=len(load) - len(rows),
        makespan_s=book.scores.makespan_s,
        router=router,
        replicas=tuple(_replica_summary(replica, book) for replica in replicas),
        imbalance=_imbalance(replicas, book, run.demand_cvs),
        failed=book.failed,
        rerouted=book.rerouted,
        resumed=book.resumed,
        fallbacks=routers.fallbacks,
    )
    failures = sum(r.engine.scheduler.plan_failures_total for r in replicas)
    return Run(cell.scheduler, summary, book.scores, failures, router)


def _replicas(
    cell: Cell, fleet: Fleet, load: LoadColumns, rows: Sequence[int]
) -> list[Replica]:
    profile = latency_profile(cell.profile)
    settings = settings_of(cell, profile)
    if fleet.report_period_s is not None:
        settings = settings.model_copy(update={"report_period_s": fleet.report_period_s})
    size = engine_size(cell, profile)
    if SCHEDULERS[cell.scheduler].has_kv_for_all:
        size = with_kv_for_all(size, map(load.__getitem__, rows))
    replicas = [Replica(number, speed) for number, speed in enumerate(fleet.speeds)]
    for replica in replicas:
        replica.attach(
            MeteredEngine(
                settings,
                size,
                cost=profile.cost,
                scheduler_cls=TellingScheduler,
                on_done=replica.ended,
            )
        )
    return replicas


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
