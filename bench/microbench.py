"""`andes microbench`: what planning costs beside what vLLM's own scheduling costs.

The quiet times are in `bench.lightbench`, the router's part in `bench.decisionbench`.

Two virtual engines of the same size, one with vLLM's scheduler and one with Andes, take
turns step by step, so that a noisy machine is as noisy for both. Half of the streams run
and half wait, and Andes plans in every step: in production it plans when streams come or
go, and a few times a second otherwise.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from vllm.v1.core.sched.async_scheduler import AsyncScheduler

from bench import decisionbench, lightbench
from bench.load import PlannedStream
from bench.percentiles import Milliseconds, milliseconds
from bench.replay.engine import VirtualEngine
from bench.replay.virtual_config import EngineSize
from bench.results import Environment, environment
from qoe import Expectation
from scheduler.andes import AndesScheduler
from scheduler.replan import PlanClock
from scheduler.settings import SchedulerSettings

DEFAULT_SIZES = (50, 200, 1000)
INPUT_TOKENS = 64
OUTPUT_TOKENS = 4000
TOKENS_PER_RUNNING_STREAM = 480
WARM_UP_STEPS = 60
# A placement takes less time than a step, and its 99th percentile needs many.
PLACEMENTS_PER_STEP = 5


class SizeResult(msgspec.Struct, frozen=True, kw_only=True):
    """One number of live streams.

    Attributes:
        streams: Live streams, half of them running.
        plan_ms: Andes's decision before a step.
        vllm_ms: vLLM's own `schedule()` and `update_from_output()`.
        andes_ms: The same two of Andes, planning and tracking included.
        ratio: Median `plan_ms` over median `vllm_ms`.
    """

    streams: int
    plan_ms: Milliseconds
    vllm_ms: Milliseconds
    andes_ms: Milliseconds
    ratio: float


class MicrobenchResult(msgspec.Struct, frozen=True):
    """What `andes microbench --json` writes."""

    steps: int
    environment: Environment
    sizes: Sequence[SizeResult]
    light: Sequence[lightbench.LightResult]
    fleets: Sequence[decisionbench.FleetResult]


def run_microbench(
    sizes: Sequence[int], fleets: Sequence[int], steps: int, json: Path | None
) -> None:
    """Measure each size of engine and fleet, print tables, write `json` if given."""
    notes = Console(stderr=True)
    measured = [
        measure(size, steps)
        for size in track(sizes, "measuring", console=notes, transient=True)
    ]
    Console().print(_table(measured))
    light = [lightbench.measure_light(size, steps) for size in lightbench.SIZES]
    Console().print(lightbench.table(light))
    routed = [
        decisionbench.measure_fleet(size, PLACEMENTS_PER_STEP * steps) for size in fleets
    ]
    Console().print(decisionbench.table(routed))
    if json is not None:
        result = MicrobenchResult(steps, environment(), measured, light, routed)
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result)))


def measure(num_streams: int, steps: int) -> SizeResult:
    """Interleave `steps` steps of vLLM and Andes at `num_streams` live streams."""
    vllm, andes = (_engine(num_streams, cls) for cls in (AsyncScheduler, AndesScheduler))
    for _ in range(WARM_UP_STEPS):
        vllm.step()
        andes.step()
    # The engine core freezes what it starts with, too; a collection is not a step.
    gc.collect()
    gc.freeze()
    vllm_s, andes_s, plan_s = np.zeros((3, steps))
    for step in range(steps):
        vllm.step()
        vllm_s[step] = vllm.scheduler_s
        andes.step()
        andes_s[step], plan_s[step] = andes.scheduler_s, andes.scheduler.activity.plan_s
    gc.unfreeze()
    return SizeResult(
        streams=num_streams,
        plan_ms=milliseconds(plan_s),
        vllm_ms=milliseconds(vllm_s),
        andes_ms=milliseconds(andes_s),
        ratio=round(float(np.median(plan_s) / np.median(vllm_s)), 4),
    )


def _engine(num_streams: int, scheduler_cls: type[AsyncScheduler]) -> VirtualEngine:
    running = max(1, num_streams // 2)
    engine = VirtualEngine(
        SchedulerSettings(),
        EngineSize(
            kv_tokens=running * TOKENS_PER_RUNNING_STREAM,
            max_num_seqs=running,
            max_num_batched_tokens=16384,
        ),
        scheduler_cls=scheduler_cls,
    )
    if isinstance(engine.scheduler, AndesScheduler):
        # Each step is planned: what is measured is a plan, not how seldom one is made.
        engine.scheduler._plan_clock = PlanClock(0.0)
    for number in range(num_streams):
        reader = Expectation(1.0, 3.0 + number % 7)
        stream = PlannedStream(0.0, INPUT_TOKENS, OUTPUT_TOKENS, reader)
        engine.submit(str(number), stream)
    return engine


def _table(measured: Sequence[SizeResult]) -> Table:
    table = Table(title="one step, ms (p50 / p99)", title_justify="left")
    for heading in ("streams", "Andes's plan", "vLLM", "Andes in all", "plan / vLLM"):
        table.add_column(heading, justify="right")
    for size in measured:
        table.add_row(
            f"{size.streams:,}",
            *map(str, (size.plan_ms, size.vllm_ms, size.andes_ms)),
            f"{size.ratio:.0%}",
        )
    return table
