"""One job of `andes evidence`, in the process that calls it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.load import PlannedStream
from bench.replay.arguments import Cell
from bench.replay.cost import StepCost
from bench.replay.profiles import LatencyProfile, latency_profile
from bench.replay.schedulers import settings_of
from bench.replay.workload import is_possible
from bench.scores import Scores, percentile
from evidence.families import FAMILIES, SHAPES, Shape
from evidence.policy.jobs import FCFS, BoundJob, Contender, Job, Load, RateJob, RunJob
from evidence.policy.results import BoundRow, Rate, Row, Run
from scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    from bench.replay.virtual_config import EngineSize  # it loads vLLM

BIN_S = 4.0
LONG_WAIT_S = 10.0
SATURATION_S = 60.0


class World(NamedTuple):
    """What all jobs share.

    Attributes:
        rates: What `fcfs` serves of each family, requests/s.
        traces: Folder of the published lists of lengths.
        scale: Part of each family's engine that is replayed, on top of its own.
    """

    rates: Mapping[str, float]
    traces: Path
    scale: float = 1.0


class _Engine(NamedTuple):
    size: EngineSize
    cost: StepCost


def measure(job: Job, world: World) -> Row:
    """Do a job; the same one gives the same row, its real seconds aside."""
    if isinstance(job, RateJob):
        return _rate(job, world)
    return _run(job, world) if isinstance(job, RunJob) else _bound(job, world)


def settings_for(contender: Contender, profile_name: str) -> SchedulerSettings:
    """The settings of a contender on the engine of a profile.

    Raises:
        UserError: There is no such policy or setting.
    """
    cell = Cell(
        synthetic=True,
        profile=profile_name,
        scheduler=contender.policy,
        resume=contender.resume,
        settings=dict(contender.settings),
    )
    return settings_of(cell, latency_profile(profile_name))


def _rate(job: RateJob, world: World) -> Rate:
    family = FAMILIES[job.family]
    rate = family.saturation_rate * family.engine_share * world.scale
    streams = family.streams(Shape("saturation"), rate, 0, world.traces)
    scores, _ = _replay(
        [s for s in streams if s.arrival_s < SATURATION_S], FCFS, job.family, world
    )
    middle_s = percentile(scores.end_s, 75) - percentile(scores.end_s, 25)
    return Rate(job=job, requests_per_s=len(scores) / 2 / middle_s, requests=len(scores))


def _run(job: RunJob, world: World) -> Run:
    started_s = time.perf_counter()
    streams = _streams(job.load, job.seed, world)
    scores, scheduler = _replay(streams, job.contender, job.load.family, world)
    return Run(
        job=job,
        quality=scores.quality(),
        preemptions_per_request=scheduler.streams.preemptions_total / len(scores),
        plan_failures=scheduler.plan_failures_total,
        long_waits=long_waits(scores, [s.input_tokens for s in streams]),
        digest=digest(scores),
        wall_s=round(time.perf_counter() - started_s, 1),
    )


def _bound(job: BoundJob, world: World) -> BoundRow:
    from evidence.bound import never_late_bound  # noqa: PLC0415 - runs need no scipy

    streams = _streams(job.load, job.seed, world)
    engine = _engine(job.load.family, "recompute", world)
    bound = never_late_bound(
        streams,
        engine.cost,
        engine.size,
        prefill_tokens=[s.input_tokens - sum(n for _, n in s.prefix) for s in streams],
        bin_s=BIN_S,
    )
    return BoundRow(job=job, share=bound.share, gap=bound.gap, wall_s=bound.solve_s)


def _streams(load: Load, seed: int, world: World) -> tuple[PlannedStream, ...]:
    family, rate = FAMILIES[load.family], world.rates[load.family]
    return family.streams(SHAPES[load.shape], rate, seed, world.traces)


def _engine(family_name: str, resume: str, world: World) -> _Engine:
    from bench.replay.virtual_config import EngineSize  # noqa: PLC0415 - vLLM takes seconds

    family = FAMILIES[family_name]
    profile: LatencyProfile = latency_profile(family.profile)
    share = family.engine_share * world.scale
    size = EngineSize(
        int(profile.kv_capacity_tokens * share),
        max_num_seqs=int(profile.limits.max_num_seqs * share),
        max_num_batched_tokens=int(profile.limits.max_num_batched_tokens * share),
        transfer_s_per_token=profile.transfer_s_per_token if resume == "offload" else None,
    )
    return _Engine(size, profile.cost.of_size(share))


def _replay(
    streams: Sequence[PlannedStream], contender: Contender, family: str, world: World
) -> tuple[Scores, Any]:
    from bench.replay.engine import VirtualEngine  # noqa: PLC0415 - vLLM takes seconds
    from bench.replay.run import largest_stream  # noqa: PLC0415

    engine = _engine(family, contender.resume, world)
    scores = Scores([stream.arrival_s for stream in streams])
    limit_tokens = largest_stream(engine.size)
    rows = [row for row, s in enumerate(streams) if is_possible(s, limit_tokens)]

    def ended(request_id: str, delivered_at_s: Sequence[float]) -> None:
        row = rows[int(request_id)]
        stream = streams[row]
        times_s = np.array(delivered_at_s) - stream.arrival_s
        scores.score(row, times_s, stream.expectation)

    settings = settings_for(contender, FAMILIES[family].profile)
    virtual = VirtualEngine(settings, engine.size, cost=engine.cost, on_done=ended)
    virtual.run([streams[row] for row in rows])
    return scores, virtual.scheduler


def digest(scores: Scores) -> str:
    """The same for two runs in which every reader got the same at the same times."""
    columns = (scores.area, scores.delay, scores.stall_s, scores.ttft_s, scores.end_s)
    return hashlib.sha256(b"".join(c.tobytes() for c in columns)).hexdigest()[:16]


def long_waits(scores: Scores, input_tokens: Sequence[int]) -> tuple[float, ...]:
    """Share of each quarter of the streams, by prompt length, that waits over 10 s."""
    waits = ~(scores.ttft_s <= LONG_WAIT_S)  # whoever got nothing waits as well
    order = np.argsort(np.asarray(input_tokens), kind="stable")
    return tuple(
        float(waits[q].mean()) if q.size else 0.0 for q in np.array_split(order, 4)
    )
