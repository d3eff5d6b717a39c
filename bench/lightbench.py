"""The quiet part of `andes microbench`: what Andes costs while everybody fits.

Then its steps are vLLM's, and all that is left is to follow the streams and to look a few
times a second. What counts is its part of a step of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from rich.table import Table
from vllm.v1.core.sched.async_scheduler import AsyncScheduler

from bench.load import PlannedStream
from bench.percentiles import Milliseconds, milliseconds
from bench.replay.engine import VirtualEngine
from bench.replay.profiles import DEFAULT_PROFILE, latency_profile
from bench.replay.virtual_config import EngineSize
from qoe import Expectation
from scheduler.andes import AndesScheduler
from scheduler.settings import SchedulerSettings

SIZES = (8, 32, 128)
# As many steps in which Andes plans once, or now and then twice.
STEPS_PER_SAMPLE = 10
INPUT_TOKENS, OUTPUT_TOKENS = 64, 100_000
WARM_UP_STEPS = 60


class LightResult(msgspec.Struct, frozen=True, kw_only=True):
    """One number of streams, all of them running.

    Attributes:
        streams: Live streams.
        step_ms: A step of the model, by its profile.
        vllm_ms: vLLM's own `schedule()` and `update_from_output()`.
        andes_ms: The same two of Andes. Means over ten steps, both.
        overhead: Median of what Andes takes longer, as part of `step_ms`.
    """

    streams: int
    step_ms: float
    vllm_ms: Milliseconds
    andes_ms: Milliseconds
    overhead: float


def measure_light(num_streams: int, steps: int) -> LightResult:
    """Interleave `steps` steps of vLLM and of Andes with its defaults."""
    vllm, andes = (_engine(num_streams, cls) for cls in (AsyncScheduler, AndesScheduler))
    for _ in range(WARM_UP_STEPS):
        vllm.step()
        andes.step()
    began_s = andes.now_s
    samples = max(1, steps // STEPS_PER_SAMPLE)
    times_s = np.zeros((2, samples))
    for step in range(samples * STEPS_PER_SAMPLE):
        for engine, row in ((vllm, times_s[0]), (andes, times_s[1])):
            engine.step()
            row[step // STEPS_PER_SAMPLE] += engine.scheduler_s / STEPS_PER_SAMPLE
    step_s = (andes.now_s - began_s) / (samples * STEPS_PER_SAMPLE)
    vllm_s, andes_s = times_s
    return LightResult(
        streams=num_streams,
        step_ms=round(step_s * 1e3, 3),
        vllm_ms=milliseconds(vllm_s),
        andes_ms=milliseconds(andes_s),
        overhead=round(float(np.median(andes_s - vllm_s)) / step_s, 4),
    )


def table(measured: Sequence[LightResult]) -> Table:
    """For a terminal."""
    made = Table(title=f"everybody fits, ms (p50 / p99), {DEFAULT_PROFILE}")
    made.title_justify = "left"
    for heading in ("streams", "model", "vLLM", "Andes in all", "overhead"):
        made.add_column(heading, justify="right")
    for light in measured:
        made.add_row(
            f"{light.streams:,}",
            f"{light.step_ms:.2f}",
            str(light.vllm_ms),
            str(light.andes_ms),
            f"{light.overhead:.1%}",
        )
    return made


def _engine(num_streams: int, scheduler_cls: type[AsyncScheduler]) -> VirtualEngine:
    profile = latency_profile(DEFAULT_PROFILE)
    size = EngineSize(
        kv_tokens=profile.kv_capacity_tokens, max_num_seqs=profile.limits.max_num_seqs
    )
    engine = VirtualEngine(
        SchedulerSettings(), size, cost=profile.cost, scheduler_cls=scheduler_cls
    )
    for number in range(num_streams):
        reader = Expectation(1.0, 3.0 + number % 7)
        stream = PlannedStream(0.0, INPUT_TOKENS, OUTPUT_TOKENS, reader)
        engine.submit(str(number), stream)
    return engine
