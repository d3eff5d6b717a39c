"""What routers are compared on: fleets of a small engine near saturation. No vLLM here."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec

from bench.fleet.arguments import Fleet
from bench.replay.arguments import Cell
from router.settings import PolicyName

PROFILE = "phi-3-mini/a100-sxm4-40gb/tp1"
REPLICAS = 8
# Requests/s that such a fleet can just serve: some 5 % of the streams are late.
RATE = 13.5
# The baselines that the issue of a router names, and the router of this project.
QOE: PolicyName = "qoe"
BASELINES: tuple[PolicyName, ...] = ("kv_ledger", "least_outstanding", "pow2")
ALL: tuple[PolicyName, ...] = get_args(PolicyName)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A load on a fleet, under several routers.

    Attributes:
        name: Short, for tables.
        title: What is special about it, in a few words.
        rate: Requests/s of the whole fleet, without bursts unless `intensity` says so.
        routers: Who is compared.
        seeds: How many loads of it.
    """

    name: str
    title: str
    rate: float
    seeds: int
    fleet: Fleet = Fleet(replicas=REPLICAS)
    routers: tuple[PolicyName, ...] = (QOE, *BASELINES)
    scheduler: str = "andes"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        scenario: Name of its scenario.
    """

    scenario: str
    router: PolicyName
    seed: int


def _with(**changes: object) -> Fleet:
    return msgspec.convert({"replicas": REPLICAS} | changes, Fleet)


SCENARIOS = (
    Scenario(name="equal", title="near saturation", rate=RATE, seeds=5),
    Scenario(
        name="equal, pooled",
        title="the same, on one engine of eight times the size, where nothing is to be "
        "routed: as far as any router can get",
        rate=RATE,
        seeds=5,
        fleet=Fleet(replicas=1, engine_size=REPLICAS),
        routers=("round_robin",),
    ),
    Scenario(
        name="equal, the rest",
        title="the same, under the other two policies",
        rate=RATE,
        seeds=1,
        routers=("round_robin", "remaining_steps"),
    ),
    Scenario(
        name="equal, fcfs",
        title="the same, with vLLM's own scheduler",
        rate=RATE,
        seeds=1,
        routers=("pow2",),
        scheduler="fcfs",
    ),
    Scenario(
        name="mixed speeds",
        title="four replicas of 1.3 times the speed, four of 0.6",
        rate=12.5,
        seeds=3,
        fleet=_with(replica_speeds=(1.3,) * 4 + (0.6,) * 4),
    ),
    Scenario(
        name="one slow",
        title="one replica of 0.35 times the speed",
        rate=12.5,
        seeds=3,
        fleet=_with(replica_speeds=(1.0,) * 7 + (0.35,)),
    ),
    Scenario(
        name="reports 2 s old",
        title="as equal, and every report comes 2 s late",
        rate=RATE,
        seeds=3,
        routers=(QOE,),
        fleet=_with(report_delay_s=2.0),
    ),
    Scenario(
        name="20 % lost",
        title="as equal, and a fifth of the reports never comes",
        rate=RATE,
        seeds=3,
        routers=(QOE,),
        fleet=_with(report_loss=0.2),
    ),
    Scenario(
        name="four routers",
        title="as equal, and four routers that do not see each other",
        rate=RATE,
        seeds=1,
        fleet=_with(router_count=4),
        routers=(QOE, "kv_ledger", "pow2"),
    ),
    Scenario(
        name="direct",
        title="as equal, and nobody tells the router that a stream has ended",
        rate=RATE,
        seeds=1,
        fleet=_with(direct_streaming=True),
        routers=(QOE, "least_outstanding"),
    ),
    Scenario(name="overload", title="twice what fits", rate=24.0, seeds=2),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def plan_jobs(seeds: int | None = None) -> list[Job]:
    """Every run; `seeds` bounds the loads of each scenario."""
    return [
        Job(scenario=scenario.name, router=router, seed=seed)
        for scenario in SCENARIOS
        for seed in range(min(scenario.seeds, seeds or scenario.seeds))
        for router in scenario.routers
    ]


def cell_of(job: Job, duration_s: float, lengths: Path | None) -> Cell:
    """The load of a job on one of its engines."""
    scenario = BY_NAME[job.scenario]
    return Cell(
        synthetic=True,
        lengths=lengths,
        rate=scenario.rate,
        intensity=1.0,
        cycle_s=duration_s,
        duration_s=duration_s,
        profile=PROFILE,
        seed=job.seed,
        scheduler=scenario.scheduler,
    )
