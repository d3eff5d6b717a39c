"""What a replay must be able to rely on in the virtual engine."""

import numpy as np
import pytest

pytest.importorskip("vllm")

from bench.load import PlannedStream
from bench.replay.cost import StepCost
from bench.replay.engine import VirtualEngine
from bench.replay.schedulers import SCHEDULERS
from bench.replay.virtual_config import EngineSize
from qoe import Expectation
from scheduler.settings import SchedulerSettings

READER = Expectation(ttft_s=1.0, tds=5.0)
COST = StepCost(base_s=0.02, per_stream_s=1e-4, per_prefill_token_s=1e-4)


@pytest.fixture
def busy_load() -> list[PlannedStream]:
    """More than the engine holds, of answers that nobody could guess."""
    rng = np.random.default_rng(5)
    return [
        PlannedStream(
            0.04 * i, int(rng.integers(20, 200)), int(rng.integers(5, 160)), READER
        )
        for i in range(50)
    ]


def deliveries(policy: str, load: list[PlannedStream], **options) -> dict[str, list[float]]:
    engine = VirtualEngine(
        SchedulerSettings(policy=policy), EngineSize(kv_tokens=1600), cost=COST, **options
    )
    engine.run(load)
    assert not engine.scheduler.requests
    assert engine.scheduler.plan_failures_total == 0
    return engine.delivered_at_s


@pytest.mark.parametrize("policy", SCHEDULERS.values(), ids=SCHEDULERS)
def test_no_policy_peeks_at_max_tokens(busy_load, policy) -> None:
    once, twice, four_times = (
        deliveries(policy, busy_load, max_tokens_factor=factor) for factor in (1, 2, 4)
    )
    assert once == twice == four_times
    assert [len(once[str(i)]) for i in range(50)] == [s.output_tokens for s in busy_load]


def test_a_stream_ends_at_its_length_however_much_it_was_allowed() -> None:
    stream = PlannedStream(0.5, 16, 3, READER)
    engine = VirtualEngine(
        SchedulerSettings(policy="fcfs"),
        EngineSize(kv_tokens=1600),
        cost=StepCost(base_s=0.1, per_stream_s=0.0, per_prefill_token_s=0.0),
        max_tokens_factor=1000,
    )
    engine.run([stream])
    assert engine.delivered_at_s["0"] == pytest.approx([0.6, 0.7, 0.8])


def test_streams_of_one_moment_are_submitted_in_their_order() -> None:
    load = [PlannedStream(at_s, 16, 3, READER) for at_s in (0.5, 0.5, 0.0, 0.5)]
    assert list(deliveries("fcfs", load)) == ["2", "0", "1", "3"]


def test_what_was_told_at_the_end_is_forgotten(busy_load) -> None:
    told: dict[str, list[float]] = {}
    kept = deliveries("andes", busy_load, on_done=told.__setitem__)
    assert kept == {}
    assert told == deliveries("andes", busy_load)
