"""No preemption or plan changes a token: the real engine on CPU, async scheduling on."""

import random
import time
from collections.abc import Iterator

import numpy as np
import pytest
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.executor.abstract import Executor

from deployments.tiny_model import ensure_tiny_model
from scheduler.andes import AndesScheduler
from scheduler.replan import PlanClock
from scheduler.snapshot import NOBODY, Plan, Snapshot

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PROMPTS = [[10 + (7 * i + j * j) % 180 for j in range(20 + 5 * i)] for i in range(48)]
PARAMS = SamplingParams(temperature=0.0, max_tokens=160, ignore_eos=True)
CPU_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}


class ForcedPreemptions(AndesScheduler):
    """Preempts half of the running streams on a third of the steps, in flight or not."""

    rng = random.Random(0)
    forced = 0

    def schedule(self, throttle_prefills: bool = False):
        if self.rng.random() < 1 / 3:
            decoding = [r for r in self.running if not r.is_prefill_chunk]
            for victim in self.rng.sample(decoding, len(decoding) // 2):
                self.running.remove(victim)
                self._preempt_request(victim, time.monotonic())
                type(self).forced += 1
        return super().schedule(throttle_prefills)


class RandomPlans:
    """Keeps everybody; admits whom, and steps as short, as chance has it.

    Attributes:
        withheld: Times that a waiting stream was withheld.
    """

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.withheld = 0

    def plan(self, snapshot: Snapshot) -> Plan:
        waiting = self._rng.permutation(snapshot.size - snapshot.num_running)
        admit = waiting[: self._rng.integers(waiting.size + 1)]
        self.withheld += waiting.size - admit.size
        return Plan(
            admit=admit,
            preempt=NOBODY,
            keep=self._rng.permutation(snapshot.num_running),
            token_budget=int(self._rng.integers(64, 512)),
        )


class Engine:
    """vLLM's own engine in this process, so that its scheduler can be looked into."""

    def __init__(self, scheduler_cls: type[AndesScheduler], **engine_args) -> None:
        config = EngineArgs(
            model=str(ensure_tiny_model()),
            dtype="float32",
            enforce_eager=True,
            block_size=128,
            max_model_len=2048,
            max_num_seqs=48,
            distributed_executor_backend="uni",
            scheduler_cls=scheduler_cls,
            **engine_args,
        ).create_engine_config()
        # vLLM turns this off on CPU because it gains nothing there; it works all the same.
        config.scheduler_config.async_scheduling = True
        self._engine = LLMEngine(config, Executor.get_class(config), log_stats=False)
        self._core = self._engine.engine_core.engine_core
        self.scheduler: AndesScheduler = self._core.scheduler
        self.most_in_flight = 0

    def generate(self) -> list[list[int]]:
        tokens: dict[str, list[int]] = {}
        for number, prompt in enumerate(PROMPTS):
            self._engine.add_request(str(number), {"prompt_token_ids": prompt}, PARAMS)
        while self._engine.has_unfinished_requests():
            for output in self._engine.step():
                tokens[output.request_id] = list(output.outputs[0].token_ids)
            self.most_in_flight = max(self.most_in_flight, len(self._core.batch_queue))
        return [tokens[str(number)] for number in range(len(PROMPTS))]

    def assert_nothing_is_left(self) -> None:
        pool = self.scheduler.kv_cache_manager.block_pool
        assert pool.get_num_free_blocks() == pool.num_gpu_blocks - 1
        assert not len(self.scheduler.streams)
        assert self.scheduler.plan_failures_total == 0

    def close(self) -> None:
        self._engine.engine_core.shutdown()


@pytest.fixture
def start(monkeypatch) -> Iterator:
    for name, value in CPU_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    engines: list[Engine] = []

    def make(scheduler_cls: type[AndesScheduler], **engine_args) -> Engine:
        engines.append(Engine(scheduler_cls, **engine_args))
        return engines[-1]

    yield make
    for engine in engines:
        engine.assert_nothing_is_left()
        engine.close()


def test_a_thousand_preemptions_and_random_plans_change_no_token(start) -> None:
    undisturbed = start(AndesScheduler).generate()
    ForcedPreemptions.forced = 0
    engine = start(ForcedPreemptions)
    plans = engine.scheduler._policy = RandomPlans()
    engine.scheduler._plan_clock = PlanClock(0.0)
    disturbed = engine.generate()
    assert ForcedPreemptions.forced >= 1000
    assert plans.withheld >= 1000
    assert engine.scheduler.streams.preemptions_total >= 1000
    assert engine.most_in_flight >= 1  # a step was in flight while the next was planned
    assert disturbed == undisturbed
    assert len({tuple(tokens) for tokens in undisturbed}) > len(PROMPTS) // 2


def test_the_policy_itself_changes_no_token_under_pressure(start, monkeypatch) -> None:
    undisturbed = start(AndesScheduler).generate()
    monkeypatch.setenv(
        "ANDES_SCHEDULER_SETTINGS",
        '{"max_throughput_loss": 10, "default_ttft_s": 0.1, "default_tds": 30}',
    )
    engine = start(AndesScheduler, num_gpu_blocks_override=25)
    assert engine.generate() == undisturbed
    assert engine.scheduler.streams.preemptions_total > 10
