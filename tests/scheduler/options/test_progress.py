"""Whatever is preempted, withheld and cut short, every stream comes to its end."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.load import PlannedStream
from qoe import Expectation
from scheduler.snapshot import NOBODY, Plan

READER = Expectation(1.0, 5.0)
NUM_STREAMS, OUTPUT_TOKENS = 6, 12
# 16 blocks of 16 tokens: two or three of the streams fit at once.
NUM_BLOCKS = 16
# Some 30 prompt steps and 12 tokens for each, each with a few steps beside it.
MAX_STEPS = 4000


chances = st.floats(0.0, 1.0)
SCHEDULES = {
    "seed": st.integers(0, 1000),
    "preempts": chances,
    "admits": chances,
    "shortens": chances,
}


def load(rng: np.random.Generator) -> list[PlannedStream]:
    prompts = rng.integers(10, 120, NUM_STREAMS).tolist()
    return [
        PlannedStream(0.02 * i, n, OUTPUT_TOKENS, READER) for i, n in enumerate(prompts)
    ]


@pytest.mark.parametrize("depth", [1, 2], ids=["in turn", "overlapped"])
@pytest.mark.parametrize(
    "how", ["recompute", "offload", "speculation", "offload and speculation"]
)
@given(**SCHEDULES)
@example(seed=0, preempts=1.0, admits=1.0, shortens=1.0)
@example(seed=1, preempts=0.5, admits=0.5, shortens=0.5)
@settings(max_examples=10)
def test_every_schedule_comes_to_its_end(
    run_of, by_chance, depth, how, seed, preempts, admits, shortens
) -> None:
    policy = by_chance(seed, preempts, admits, shortens)
    with run_of(how, depth=depth, num_blocks=NUM_BLOCKS, policy=policy) as engine:
        for number, stream in enumerate(load(np.random.default_rng(seed))):
            engine.submit(str(number), stream)
        while engine.scheduler.has_requests() and engine.steps < MAX_STEPS:
            engine.step()
        engine.run([])
        told = [len(times) for times in engine.delivered_at_s.values()]
        assert told == [OUTPUT_TOKENS] * NUM_STREAMS
        assert engine.steps < MAX_STEPS
        streams = engine.scheduler.streams
        # One for a token, and one that came to nothing for each stream.
        assert streams.preemptions_total <= NUM_STREAMS * (OUTPUT_TOKENS + 1)
        assert engine.scheduler.plan_failures_total == 0


def test_an_engine_that_served_nobody_is_vllms_in_the_next_step(
    start, burst, scripted
) -> None:
    """Whom the plan offers does not fit; whom it withholds holds the memory."""
    engine = start(policy=scripted(rewrite=lambda p: Plan(p.admit[:1], NOBODY, p.keep)))
    for number, stream in enumerate(burst(3)):
        engine.submit(str(number), stream)
    scheduler, refused = engine.scheduler, []
    allocate = scheduler.kv_cache_manager.allocate_slots

    def full_for_the_first(request, *args, **kwargs):
        if request.request_id == "0" and not scheduler.running:
            refused.append(request)
            return None
        return allocate(request, *args, **kwargs)

    scheduler.kv_cache_manager.allocate_slots = full_for_the_first
    scheduler.waiting.reverse()
    scheduler.waiting.rotate(1)
    assert not engine.step().num_scheduled_tokens
    assert scheduler._stands_still
    assert scheduler._policy.planned == 1
    engine.step()
    assert scheduler._policy.planned == 1
    del scheduler.kv_cache_manager.allocate_slots
    engine.run([])
    assert refused
