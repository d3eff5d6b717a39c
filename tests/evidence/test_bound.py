"""The bound against schedules: all there are of tiny loads, real ones of larger loads."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("vllm")
pytest.importorskip("scipy")

from bench.load import PlannedStream
from bench.replay.cost import StepCost
from bench.replay.engine import VirtualEngine
from bench.replay.virtual_config import EngineSize
from evidence.bound import Bound, never_late_bound
from qoe import Expectation
from qoe.metrics import delay_qoe
from scheduler.settings import SchedulerSettings

FREE = {
    "base_s": 1e-6,
    "per_stream_s": 0.0,
    "per_context_token_s": 0.0,
    "per_prefill_token_s": 0.0,
    "per_prefill_token2_s": 0.0,
}
VAST = {"kv_tokens": 10**6, "max_num_seqs": 1000, "max_num_batched_tokens": 10**6}


def stream(arrival_s=0.0, prompt=1, output=1, ttft_s=1.0, tds=5.0) -> PlannedStream:
    return PlannedStream(arrival_s, prompt, output, Expectation(ttft_s, tds))


def in_time(s: PlannedStream, number: int, at_s: float) -> bool:
    due_s = s.arrival_s + s.expectation.ttft_s + number / s.expectation.tds
    return at_s <= due_s + 1e-9


def moves(s: PlannedStream, state: tuple[int, int], now_s: float):
    """What a step may do for a stream: (new state, context or None, prompt tokens, pairs).

    A prompt is computed whole, or first all but its last token.
    """
    computed, made = state
    yield state, None, 0, 0
    if made == s.output_tokens or s.arrival_s > now_s or not in_time(s, made, now_s):
        return
    prompt = s.input_tokens
    rest = prompt - computed - 1 if made == 0 else 0
    yield (prompt, made + 1), prompt + made, rest, prompt**2 - (prompt - rest) ** 2
    if rest:
        yield (prompt - 1, 0), None, rest, (prompt - 1) ** 2 - computed**2


def work_of(step, size: EngineSize):
    """What a step costs, as `StepCost.step_s` takes it; None where it is none or no fit."""
    contexts = [context for _, context, _, _ in step if context is not None]
    prefill = sum(tokens for _, _, tokens, _ in step)
    fits = (
        sum(contexts) <= size.kv_tokens
        and len(contexts) <= size.max_num_seqs
        and len(contexts) + prefill <= size.max_num_batched_tokens
    )
    if not fits or not (contexts or prefill):
        return None
    return len(contexts), prefill, sum(contexts), sum(pairs for *_, pairs in step)


def most_never_late(streams, cost: StepCost, size: EngineSize) -> int:
    """The best of all schedules, by looking at each: KV moves freely, steps are whole."""

    @cache
    def best(now_s: float, states) -> int:
        pairs = list(zip(streams, states, strict=True))
        later = [s.arrival_s for s in streams if s.arrival_s > now_s]
        found = sum(made == s.output_tokens for s, (_, made) in pairs)
        if later:
            found = max(found, best(min(later), states))
        for step in product(*(moves(s, state, now_s) for s, state in pairs)):
            work = work_of(step, size)
            if work is None:
                continue
            end_s = round(now_s + cost.step_s(*work), 9)
            after = tuple(state for state, *_ in step)
            if all(
                new == old or in_time(s, old[1], end_s)
                for (s, old), new in zip(pairs, after, strict=True)
            ):
                found = max(found, best(end_s, after))
        return found

    return best(0.0, tuple((0, 0) for _ in streams))


def whole(bound: Bound, streams) -> int:
    return round(bound.share * len(streams))


few_streams = st.lists(
    st.builds(
        stream,
        arrival_s=st.sampled_from([0.0, 0.3, 1.0]),
        prompt=st.integers(1, 12),
        output=st.integers(1, 3),
        ttft_s=st.sampled_from([0.4, 0.9, 1.5, 2.5]),
        tds=st.sampled_from([0.7, 2.0, 6.0]),
    ),
    min_size=1,
    max_size=3,
)
costs = st.builds(
    StepCost,
    base_s=st.sampled_from([0.05, 0.2, 0.5]),
    per_stream_s=st.sampled_from([0.0, 0.1]),
    per_context_token_s=st.sampled_from([0.0, 0.02]),
    per_prefill_token_s=st.sampled_from([0.0, 0.05]),
    per_prefill_token2_s=st.sampled_from([0.0, 0.005]),
)
sizes = st.builds(
    EngineSize,
    kv_tokens=st.integers(8, 40),
    max_num_seqs=st.integers(1, 3),
    max_num_batched_tokens=st.integers(12, 30),
)


@settings(max_examples=50, deadline=None)
@given(few_streams, costs, sizes, st.sampled_from([0.1, 0.5, 2.0]))
def test_no_schedule_of_a_tiny_load_is_above_the_bound(streams, cost, size, bin_s) -> None:
    bound = never_late_bound(streams, cost, size, bin_s=bin_s)
    assert most_never_late(tuple(streams), cost, size) <= whole(bound, streams)


@pytest.mark.parametrize(
    ("cost", "size", "prompt", "ttft_s"),
    [
        pytest.param({"per_prefill_token_s": 0.1}, {}, 11, 2.2, id="prefill"),
        pytest.param({"per_prefill_token2_s": 0.01}, {}, 11, 2.2, id="prefill-pairs"),
        pytest.param({"per_stream_s": 1.0}, {}, 1, 2.2, id="stream"),
        pytest.param({"per_context_token_s": 0.1}, {}, 10, 2.2, id="context"),
        pytest.param({"base_s": 1.0}, {"kv_tokens": 10}, 10, 2.2, id="memory"),
        pytest.param({"base_s": 1.0}, {"max_num_seqs": 1}, 1, 2.2, id="slots"),
        pytest.param({"base_s": 1.0}, {"max_num_batched_tokens": 10}, 10, 2.2, id="budget"),
    ],
)
def test_each_cost_and_each_limit_alone_is_counted(cost, size, prompt, ttft_s) -> None:
    # Each stream takes one second, and each is to be served within 2.2 s.
    streams = (stream(prompt=prompt, ttft_s=ttft_s),) * 4
    step, engine = StepCost(**FREE | cost), EngineSize(**VAST | size)
    assert most_never_late(streams, step, engine) == 2
    assert whole(never_late_bound(streams, step, engine, bin_s=0.25), streams) == 2


def test_a_base_is_charged_once_though_memory_and_seats_are_both_full() -> None:
    streams = [stream(prompt=96), *[stream() for _ in range(4)]]
    size = EngineSize(**VAST | {"kv_tokens": 100, "max_num_seqs": 5})
    cost = StepCost(**FREE | {"base_s": 1.0})
    assert most_never_late(tuple(streams), cost, size) == 5
    assert never_late_bound(streams, cost, size, bin_s=0.25).share == 1.0


def test_readers_due_later_leave_the_engine_to_those_due_now() -> None:
    # Twenty tokens of 0.1 s each, the first due at once and the rest at leisure.
    streams = (stream(output=5, ttft_s=0.45, tds=2.0),) * 4
    cost, size = StepCost(**FREE | {"per_stream_s": 0.1}), EngineSize(**VAST)
    assert never_late_bound(streams, cost, size, bin_s=0.05).share == 1.0
    hasty = (stream(output=5, ttft_s=0.45, tds=20.0),) * 4
    assert never_late_bound(hasty, cost, size, bin_s=0.05).share < 0.5


def test_what_the_prefix_cache_may_hold_is_neither_computed_nor_held() -> None:
    streams = (stream(prompt=11, ttft_s=1.2),) * 4
    cost = StepCost(**FREE | {"per_prefill_token_s": 0.1})
    shared = never_late_bound(
        streams, cost, EngineSize(**VAST), prefill_tokens=[6, 6, 6, 11], bin_s=0.25
    )
    assert whole(shared, streams) == 2
    cost = StepCost(**FREE | {"base_s": 1.0})
    size = EngineSize(**VAST | {"kv_tokens": 10})
    for computed, most in (([11] * 4, 0), ([5] * 4, 2), ([1] * 4, 4)):
        bound = never_late_bound(streams, cost, size, prefill_tokens=computed, bin_s=0.25)
        assert whole(bound, streams) == most


@pytest.mark.parametrize(
    "alone",
    [
        pytest.param(
            stream(prompt=1000), id="its prompt takes longer than its reader waits"
        ),
        pytest.param(
            stream(output=50, ttft_s=0.1, tds=1000.0), id="a step takes longer than a word"
        ),
        pytest.param(stream(prompt=60, output=42), id="larger than the memory"),
    ],
)
def test_a_stream_that_nothing_could_save_is_not_counted(alone) -> None:
    cost = StepCost(base_s=0.01, per_stream_s=1e-3, per_prefill_token_s=2e-3)
    size = EngineSize(kv_tokens=100)
    assert never_late_bound([alone], cost, size).share == 0.0
    assert never_late_bound([alone, stream()], cost, size).share == 0.5


def bursty(count: int) -> list[PlannedStream]:
    """More than `COST` and `SIZE` can serve in time, of all lengths and paces."""
    rng = np.random.default_rng(3)
    return [
        stream(
            float(arrival_s),
            prompt=int(rng.integers(20, 200)),
            output=int(rng.integers(20, 160)),
            tds=float(rng.choice([4.0, 6.0])),
        )
        for arrival_s in np.sort(rng.uniform(0, 12, count))
    ]


COST = StepCost(
    base_s=0.04,
    per_stream_s=2e-3,
    per_context_token_s=1e-6,
    per_prefill_token_s=8e-4,
    per_prefill_token2_s=1e-7,
)
SIZE = EngineSize(kv_tokens=1600, max_num_batched_tokens=256)


def test_a_light_load_may_all_be_in_time() -> None:
    assert never_late_bound(bursty(6), COST, SIZE).share == 1.0


def test_more_memory_or_speed_never_lowers_the_bound() -> None:
    streams = bursty(80)
    one_stream = 1 / len(streams)
    last = never_late_bound(streams, COST, SIZE, bin_s=1.0).share
    assert last < 0.9
    for times in (2, 4):
        faster = StepCost(
            **{name: getattr(COST, name) / times for name in StepCost.__slots__}
        )
        for cost, size in ((COST, SIZE.of_size(times)), (faster, SIZE)):
            assert (
                never_late_bound(streams, cost, size, bin_s=1.0).share >= last - one_stream
            )
    assert never_late_bound(streams, faster, SIZE.of_size(4)).share == 1.0


def test_narrower_bins_only_make_it_tighter_and_a_stopped_solver_only_looser() -> None:
    streams = bursty(80)
    one_stream = 1 / len(streams)
    wide, narrow = (
        never_late_bound(streams, COST, SIZE, bin_s=bin_s) for bin_s in (8.0, 1.0)
    )
    assert narrow.share <= wide.share + one_stream
    stopped = never_late_bound(streams, COST, SIZE, bin_s=1.0, time_limit_s=0.0)
    assert stopped.share == 1.0
    assert stopped.gap >= 1.0 - narrow.share


@pytest.mark.parametrize(
    ("streams", "options", "message"),
    [
        ([], {}, "of 0 streams"),
        ([stream()], {"bin_s": 0.0}, "bin_s=0.0"),
        ([stream(prompt=5)], {"prefill_tokens": [6]}, "from 1 to the prompt's length"),
        ([stream()], {"prefill_tokens": [1, 1]}, "for each of 1 streams"),
    ],
)
def test_a_load_that_is_none_is_refused(streams, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        never_late_bound(streams, COST, SIZE, **options)


@pytest.mark.engine
@pytest.mark.parametrize("count", [20, 50, 90])
@pytest.mark.parametrize("policy", ["fcfs", "andes"])
def test_no_replay_is_above_the_bound(policy, count) -> None:
    streams = bursty(count)
    engine = VirtualEngine(SchedulerSettings(policy=policy), SIZE, cost=COST)
    engine.run(streams)
    scores = [
        delay_qoe(np.array(engine.delivered_at_s[str(i)]) - s.arrival_s, s.expectation)
        for i, s in enumerate(streams)
    ]
    served = sum(score > 1 - 1e-9 for score in scores)
    assert 0 < served <= whole(never_late_bound(streams, COST, SIZE, bin_s=1.0), streams)
