"""One load on the real engine, between two calibrations, and in replay."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict

from bench.fidelity.arguments import BLOCK_SIZE_TOKENS, FidelityArguments
from bench.fidelity.clock import clock_named
from bench.fidelity.engine import RealEngine
from bench.fidelity.fit import fit_cost, scaled, slowdown
from bench.fidelity.results import Constants, Outcome, Pair
from bench.fidelity.steps import Step
from bench.load import BurstShape, PlannedStream
from bench.replay.cost import StepCost
from bench.replay.engine import VirtualEngine
from bench.replay.virtual_config import EngineSize
from qoe import Expectation
from scheduler.settings import SchedulerSettings

# Streams that a calibration sends together, one group after the other: every batch size,
# and more streams than the memory holds, for a planner costs most when streams wait.
GROUPS = (1, 2, 4, 8, 16, 64)
CALIBRATION_SEED = 20_250_808
# What the calibrated speed is told by: eight streams of 800 tokens that decode.
REFERENCE_STREAMS, REFERENCE_CONTEXT = 8, 8 * 800


def engine_size(arguments: FidelityArguments) -> EngineSize:
    """The same limits for the real engine and for the virtual one."""
    return EngineSize(
        # Block 0 is vLLM's null block.
        kv_tokens=(arguments.kv_blocks - 1) * BLOCK_SIZE_TOKENS,
        block_size_tokens=BLOCK_SIZE_TOKENS,
        max_num_seqs=arguments.max_num_seqs,
        max_num_batched_tokens=arguments.max_num_batched_tokens,
    )


def calibration_groups(groups: Sequence[int] = GROUPS) -> list[list[PlannedStream]]:
    """Streams of all lengths that owe nothing to the load that is measured."""
    rng = random.Random(CALIBRATION_SEED)
    shape = BurstShape()
    return [
        [
            PlannedStream(
                0.0,
                _drawn(rng, shape.input_tokens, shape.input_sigma, most=3000),
                _drawn(rng, shape.output_tokens, shape.output_sigma, most=600),
                Expectation(1.0, rng.uniform(3.0, 8.0)),
            )
            for _ in range(size)
        ]
        for size in groups
    ]


def calibrate(engine: RealEngine, groups: Sequence[Sequence[PlannedStream]]) -> list[Step]:
    """The steps of a calibration on this engine."""
    return [step for streams in groups for step in engine.serve(streams).steps]


def measure(
    engine: RealEngine,
    arguments: FidelityArguments,
    streams: Sequence[PlannedStream],
    *,
    policy: str,
    repeat: int,
    groups: Sequence[int] = GROUPS,
) -> Pair:
    """Serve the load, calibrated before and after, and replay it."""
    calibration = calibration_groups(groups)
    before = calibrate(engine, calibration)
    served = engine.serve(streams)
    after = calibrate(engine, calibration)
    fit = fit_cost([*before, *after])
    speed = slowdown(fit.cost, served.steps)
    settings, size = _settings(policy), engine_size(arguments)
    return Pair(
        policy=policy,
        repeat=repeat,
        constants=Constants(**asdict(fit.cost)),
        slowdown=fit.slowdown,
        before_ms=_reference_ms(before),
        after_ms=_reference_ms(after),
        speed=speed,
        plan_failures=served.plan_failures,
        real=Outcome.of(streams, served.delivered_at_s, served.preemptions),
        replayed=_replay(settings, size, fit.cost, streams),
        replayed_at_speed=_replay(settings, size, scaled(fit.cost, speed), streams),
    )


def start_engine(arguments: FidelityArguments, policy: str) -> RealEngine:
    """A real engine, warm: its first steps are slower than any later one."""
    clock = clock_named(arguments.clock)
    engine = RealEngine(_settings(policy), engine_size(arguments), clock)
    calibrate(engine, calibration_groups((4,)))
    return engine


def _settings(policy: str) -> SchedulerSettings:
    return SchedulerSettings.model_validate({"policy": policy})


def _reference_ms(steps: Sequence[Step]) -> float:
    cost = fit_cost(steps).cost
    return 1e3 * cost.step_s(REFERENCE_STREAMS, 0, REFERENCE_CONTEXT)


def _replay(
    settings: SchedulerSettings,
    size: EngineSize,
    cost: StepCost,
    streams: Sequence[PlannedStream],
) -> Outcome:
    engine = VirtualEngine(settings, size, cost=cost)
    engine.run(streams)
    delivered = [engine.delivered_at_s[str(row)] for row in range(len(streams))]
    return Outcome.of(streams, delivered, engine.scheduler.streams.preemptions_total)


def _drawn(rng: random.Random, median: int, sigma: float, *, most: int) -> int:
    return max(1, min(round(median * rng.lognormvariate(0.0, sigma)), most))
