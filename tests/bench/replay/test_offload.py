"""What a replay must be able to rely on where preempted streams come back from the host."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("vllm")

from bench.load import PlannedStream
from bench.replay.cost import StepCost
from bench.replay.engine import VirtualEngine
from bench.replay.virtual_config import EngineSize
from qoe import Expectation
from scheduler.replan import PlanClock
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import NOBODY, Plan, Snapshot

READER = Expectation(ttft_s=1.0, tds=5.0)
BLOCK_TOKENS = 16
STEP_S = 0.01
LINK_S_PER_TOKEN = 1e-3

EngineFactory = Callable[[int], VirtualEngine]


class NewFirst:
    """Whoever is new gets all the memory; the others come back when it is done."""

    def plan(self, snapshot: Snapshot) -> Plan | None:
        running = np.arange(snapshot.num_running)
        new = np.flatnonzero(~snapshot.started[snapshot.num_running :])
        if not running.size:
            return None
        if new.size:
            return Plan(admit=new, preempt=running, keep=NOBODY)
        return Plan(admit=NOBODY, preempt=NOBODY, keep=running)


class AtRandom:
    """Half of those who decode leave on a third of the plans; everybody may come in."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(3)

    def plan(self, snapshot: Snapshot) -> Plan:
        leaves = np.zeros(snapshot.num_running, dtype=bool)
        if self._rng.random() < 1 / 3:
            may = ~snapshot.is_prefilling & snapshot.can_free
            may = may[: snapshot.num_running]
            leaves = may & (self._rng.random(may.size) < 1 / 2)
        waiting = np.arange(snapshot.size - snapshot.num_running)
        return Plan(waiting, np.flatnonzero(leaves), np.flatnonzero(~leaves))


@pytest.fixture
def make_engine() -> Iterator[EngineFactory]:
    """Engines with a link to the host; at the end nothing may be left in them."""
    engines: list[VirtualEngine] = []

    def make(num_blocks: int) -> VirtualEngine:
        engine = VirtualEngine(
            SchedulerSettings(resume="offload"),
            EngineSize(
                kv_tokens=num_blocks * BLOCK_TOKENS,
                transfer_s_per_token=LINK_S_PER_TOKEN,
            ),
            cost=StepCost(base_s=STEP_S, per_stream_s=0.0, per_prefill_token_s=0.0),
        )
        engine.scheduler._plan_clock = PlanClock(0.0)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        pool = engine.scheduler.kv_cache_manager.block_pool
        assert not engine.scheduler.requests
        assert not len(engine.scheduler.streams)
        assert pool.get_num_free_blocks() == pool.num_gpu_blocks - 1
        assert engine.scheduler.plan_failures_total == 0


@pytest.fixture
def two_come_back(make_engine) -> VirtualEngine:
    """Two streams, of 96 and of 144 tokens on the host, just before both come back.

    A third took all of the memory: nothing of them is left in the prefix cache.
    """
    engine = make_engine(24)
    engine.scheduler._policy = NewFirst()
    engine.submit("a", PlannedStream(0.0, 96, 60, READER))
    engine.submit("b", PlannedStream(0.0, 144, 60, READER))
    for _ in range(11):
        engine.step()
    engine.submit("c", PlannedStream(engine.now_s, 380, 4, READER))
    while len(engine.delivered_at_s["c"]) < 4:
        engine.step()
    assert len(engine.delivered_at_s["a"]) == len(engine.delivered_at_s["b"]) == 11
    assert engine.scheduler.streams.preemptions_total == 2
    return engine


def run_out(engine: VirtualEngine) -> Counter[str]:
    """Step until every stream is done; how many tokens each had computed meanwhile."""
    computed: Counter[str] = Counter()
    while engine.scheduler.has_unfinished_requests():
        computed.update(engine.step().num_scheduled_tokens)
    return computed


@pytest.mark.parametrize("policy", ["andes", "fcfs"])
def test_offload_without_a_link_is_refused(policy) -> None:
    """Else streams would be computed again, under a policy that plans with transfers."""
    settings = SchedulerSettings(policy=policy, resume="offload")
    with pytest.raises(ValueError, match=r"resume='offload' needs .*transfer_s_per_token"):
        VirtualEngine(settings, EngineSize(kv_tokens=160))


def test_loads_take_their_time_on_the_link_one_after_the_other(two_come_back) -> None:
    engine, back_at_s = two_come_back, two_come_back.now_s
    run_out(engine)
    # Whole blocks of 106 and of 154 tokens.
    a_loaded_s, b_loaded_s = 96 * LINK_S_PER_TOKEN, (96 + 144) * LINK_S_PER_TOKEN
    a_next_s, b_next_s = (engine.delivered_at_s[r][11] - back_at_s for r in "ab")
    assert a_loaded_s < a_next_s < a_loaded_s + 3 * STEP_S
    assert b_loaded_s < b_next_s < b_loaded_s + 3 * STEP_S


def test_the_batch_goes_on_while_a_stream_is_loaded(two_come_back) -> None:
    engine, back_at_s = two_come_back, two_come_back.now_s
    run_out(engine)
    a_at_s, b_next_s = np.array(engine.delivered_at_s["a"]), engine.delivered_at_s["b"][11]
    meanwhile = (a_at_s > back_at_s) & (a_at_s < b_next_s)
    assert np.count_nonzero(meanwhile) >= 10
    assert np.diff(a_at_s[11:]).max() < 1.5 * STEP_S


def test_only_the_last_partial_block_is_computed_again(two_come_back) -> None:
    engine = two_come_back
    computed = run_out(engine)
    # 49 tokens to come, and what 106 and 154 tokens have beyond whole blocks.
    assert computed == {"a": 49 + 106 % BLOCK_TOKENS, "b": 49 + 154 % BLOCK_TOKENS}
    assert engine.offload.loaded_tokens_total == 96 + 144


def test_streams_that_come_back_again_and_again_get_every_token(make_engine) -> None:
    engine = make_engine(40)
    engine.scheduler._policy = AtRandom()
    for number in range(12):
        engine.submit(str(number), PlannedStream(0.0, 50 + 9 * number, 80, READER))
    preempted: Counter[str] = Counter()
    preempt = engine.scheduler._preempt_request

    def counted(request, *args, **kwargs):
        preempted[request.request_id] += 1
        return preempt(request, *args, **kwargs)

    engine.scheduler._preempt_request = counted
    computed = run_out(engine)
    assert preempted.total() > 100
    assert engine.offload.loaded_tokens_total > 1000
    for number in range(12):
        times = engine.delivered_at_s[str(number)]
        assert len(times) == 80
        assert times == sorted(times)
        # The last token of an answer is never computed.
        at_once = 50 + 9 * number + 80 - 1
        again = computed[str(number)] - at_once
        assert 0 <= again < BLOCK_TOKENS * preempted[str(number)]


def test_what_ends_is_forgotten_on_the_host(two_come_back) -> None:
    engine = two_come_back
    run_out(engine)
    assert engine.offload._saved_tokens == {}
    assert engine.offload.next_loaded_at_s() is None
