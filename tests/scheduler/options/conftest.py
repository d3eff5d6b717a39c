"""vLLM's real scheduler with any of its options, and several steps in flight."""

import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.outputs import DraftTokenIds, KVConnectorOutput, ModelRunnerOutput

from bench.replay.cost import StepCost, work_of
from bench.replay.engine import VirtualEngine
from bench.replay.virtual_config import EngineSize
from deployments.tiny_model import ensure_tiny_model
from scheduler.andes import AndesScheduler
from scheduler.replan import PlanClock
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Plan, Snapshot

BLOCK_TOKENS = 16
TOKEN = 7


def configured(options: dict, kv_cache_config=None, cls=AndesScheduler) -> type:
    """The scheduler under these options, each named as in `VllmConfig`."""

    class Configured(cls):
        def __init__(self, *args, **kwargs) -> None:
            config = kwargs["vllm_config"]
            for name, value in options.items():
                owner, _, field = name.rpartition(".")
                if owner:
                    setattr(config, owner, copy.copy(getattr(config, owner)))
                setattr(getattr(config, owner) if owner else config, field, value)
            if kv_cache_config is not None:
                kwargs["kv_cache_config"] = kv_cache_config(kwargs["kv_cache_config"])
            super().__init__(*args, **kwargs)

    return Configured


class PipelinedEngine(VirtualEngine):
    """Keeps up to `depth` steps in flight, as vLLM's batch queue does.

    Every answer has the length that was asked for; drafts are right by chance.
    """

    def __init__(self, *args, depth: int, throttles: bool = False, **kwargs) -> None:
        super().__init__(*args, max_tokens_factor=1, **kwargs)
        self._rng = np.random.default_rng(0)
        self._depth, self._throttles = depth, throttles
        self._in_flight: deque = deque()
        self.most_in_flight = self.steps = self.drafts_accepted = 0

    def step(self):
        scheduler = self.scheduler
        self.steps += 1
        if scheduler.has_requests():
            output = scheduler.schedule(self._throttles and self.steps % 4 != 0)
            self._in_flight.append((output, self._result(output)))
            self.most_in_flight = max(self.most_in_flight, len(self._in_flight))
            if len(self._in_flight) < self._depth and output.num_scheduled_tokens:
                return output
        output, result = self._in_flight.popleft()
        self._record(scheduler.update_from_output(output, result))
        if scheduler.num_spec_tokens and not scheduler.scheduler_config.async_scheduling:
            # As a runner that finds no draft for some of its streams.
            names = [r.request_id for r in scheduler.running if self._rng.random() < 0.8]
            drafts = [[TOKEN] * scheduler.num_spec_tokens for _ in names]
            scheduler.update_draft_token_ids(DraftTokenIds(names, drafts))
        return output

    def run(self, streams) -> None:
        super().run(streams)
        while self._in_flight or self.scheduler.has_requests():
            self.step()

    def _result(self, output) -> ModelRunnerOutput:
        names = list(output.num_scheduled_tokens)
        drafts = output.scheduled_spec_decode_tokens
        sampled = [self._sampled(name, len(drafts.get(name, ()))) for name in names]
        if names:
            self.now_s += self.cost.step_s(
                *work_of(output.num_scheduled_tokens, self.scheduler.requests)
            )
        else:
            self._idle()
        result = ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: i for i, name in enumerate(names)},
            sampled_token_ids=sampled,
        )
        if self.offload is not None:
            loaded = self.offload.take_loaded()
            result.kv_connector_output = KVConnectorOutput(finished_recving=loaded or None)
        return result

    def _sampled(self, name: str, num_drafts: int) -> list[int]:
        request = self.scheduler.requests[name]
        if self.offload is not None:
            self.offload.computed(name, request.num_computed_tokens)
        if request.is_prefill_chunk:
            return []
        accepted = int(self._rng.integers(num_drafts + 1))
        self.drafts_accepted += accepted
        return [TOKEN] * (1 + accepted)


class ByChance:
    """Preempts, admits and shortens by chance: with `preempts` 1.0 everybody, always."""

    def __init__(self, seed: int, preempts: float, admits: float, shortens: float) -> None:
        self._rng = np.random.default_rng(seed)
        self._preempts, self._admits, self._shortens = preempts, admits, shortens
        self.preempted = 0

    def plan(self, snapshot: Snapshot) -> Plan:
        rng, running = self._rng, self._rng.permutation(snapshot.num_running)
        leaves = rng.random(running.size) < self._preempts
        leaves &= snapshot.can_free[running]
        waiting = rng.permutation(snapshot.size - snapshot.num_running)
        self.preempted += int(leaves.sum())
        return Plan(
            admit=waiting[rng.random(waiting.size) < self._admits],
            preempt=running[leaves],
            keep=running[~leaves],
            token_budget=16 if rng.random() < self._shortens else None,
        )


@pytest.fixture(scope="session")
def by_chance() -> type[ByChance]:
    """A policy that decides nothing; see there."""
    return ByChance


def made(
    options: dict | None = None,
    *,
    num_blocks: int = 32,
    depth: int = 1,
    throttles: bool = False,
    policy=None,
    settings=None,
    kv_cache_config=None,
    cls=AndesScheduler,
    **size,
) -> PipelinedEngine:
    given = {"scheduler_config.async_scheduling": depth > 1, **(options or {})}
    engine = PipelinedEngine(
        SchedulerSettings(**(settings or {})),
        EngineSize(kv_tokens=num_blocks * BLOCK_TOKENS, **size),
        cost=StepCost(base_s=0.02, per_prefill_token_s=1e-4),
        scheduler_cls=configured(given, kv_cache_config, cls),
        depth=depth,
        throttles=throttles,
    )
    if policy is not None:
        engine.scheduler._policy = policy
        engine.scheduler._plan_clock = PlanClock(0.0)
    return engine


def assert_nothing_is_left(engine: PipelinedEngine) -> None:
    scheduler = engine.scheduler
    pool = scheduler.kv_cache_manager.block_pool
    assert not scheduler.requests
    assert not len(scheduler.streams)
    assert pool.get_num_free_blocks() == pool.num_gpu_blocks - 1


@pytest.fixture(scope="session")
def speculating():
    """What vLLM is told by `--speculative-config`, three drafts at a time."""
    ngram = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3}
    given = EngineArgs(model=str(ensure_tiny_model()), speculative_config=ngram)
    return given.create_engine_config().speculative_config


@pytest.fixture(scope="session")
def run_of(speculating) -> Callable[..., AbstractContextManager[PipelinedEngine]]:
    """An engine of its own for each run: one of a test would serve all its examples."""
    offload = {"settings": {"resume": "offload"}, "transfer_s_per_token": 1e-5}
    speculation = {"options": {"speculative_config": speculating}}
    ways = {
        "recompute": {},
        "offload": offload,
        "speculation": speculation,
        "offload and speculation": offload | speculation,
    }

    @contextmanager
    def run(how: str, **more) -> Iterator[PipelinedEngine]:
        engine = made(**ways[how], **more)
        yield engine
        assert_nothing_is_left(engine)

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., PipelinedEngine]]:
    """Engines with these options; at the end nothing may be left in them."""
    engines: list[PipelinedEngine] = []

    def make(options: dict | None = None, **more) -> PipelinedEngine:
        engines.append(made(options, **more))
        return engines[-1]

    yield make
    for engine in engines:
        assert_nothing_is_left(engine)
