import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from bench.load import PlannedStream
from bench.replay.cost import StepCost
from bench.replay.engine import VirtualEngine
from bench.replay.virtual_config import EngineSize
from qoe import Expectation, Feedback
from scheduler.live_streams import LiveStreams
from scheduler.outlook import HORIZON_S, EngineState, take_snapshot
from scheduler.replan import PlanClock
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import NOBODY, Plan, Snapshot, StepTime

READER = Expectation(ttft_s=1.0, tds=5.0)
BLOCK_TOKENS = 16
NOW_S = 100.0
STEP_TIME = StepTime(0.02, 0.0, 1e-4)
SETTINGS = SchedulerSettings()
EngineFactory = Callable[..., VirtualEngine]


@pytest.fixture
def make_engine() -> Iterator[EngineFactory]:
    """Real vLLM schedulers in virtual time; at the end nothing may be left in them.

    `policy` takes the place of the one in the settings; `load` is submitted at once.
    """
    engines: list[VirtualEngine] = []

    def make(
        num_blocks: int = 32,
        *,
        settings=None,
        cost=None,
        policy=None,
        plans_every_step=False,
        load: Sequence[PlannedStream] = (),
        **size,
    ) -> VirtualEngine:
        engine = VirtualEngine(
            SchedulerSettings(**(settings or {})),
            EngineSize(kv_tokens=num_blocks * BLOCK_TOKENS, **size),
            cost=cost or StepCost(base_s=0.02, per_prefill_token_s=1e-4),
        )
        engines.append(engine)
        if policy is not None:
            engine.scheduler._policy = policy
        if plans_every_step:
            engine.scheduler._plan_clock = PlanClock(0.0)
        for number, stream in enumerate(load):
            engine.submit(str(number), stream)
        return engine

    yield make
    for engine in engines:
        scheduler = engine.scheduler
        pool = scheduler.kv_cache_manager.block_pool
        assert not scheduler.requests
        assert not len(scheduler.streams)
        assert pool.get_num_free_blocks() == pool.num_gpu_blocks - 1


class Scripted:
    """A policy that lets in and keeps everybody, but for what its fields say.

    Attributes:
        token_budget: Of every plan.
        admits: Whether anybody who waits is offered to the engine.
        fails: Every second plan raises.
        rewrite: Changes every plan.
        planned: Plans asked for so far.
    """

    def __init__(
        self, *, token_budget=None, admits=True, fails=False, rewrite=None
    ) -> None:
        self.token_budget = token_budget
        self.admits = admits
        self.fails = fails
        self.rewrite = rewrite
        self.planned = 0

    def plan(self, snapshot: Snapshot) -> Plan:
        self.planned += 1
        if self.fails and self.planned % 2 == 0:
            raise ZeroDivisionError("planner bug")
        running = np.arange(snapshot.num_running)
        waiting = np.arange(snapshot.size - snapshot.num_running)
        plan = Plan(
            admit=waiting if self.admits else NOBODY,
            preempt=NOBODY,
            keep=running,
            token_budget=self.token_budget,
        )
        return self.rewrite(plan) if self.rewrite is not None else plan


@pytest.fixture
def scripted() -> type[Scripted]:
    """A policy that does what a test tells it to."""
    return Scripted


@pytest.fixture
def burst() -> Callable[..., list[PlannedStream]]:
    """Loads of equal requests, twenty a second."""

    def make(
        count: int, input_tokens: int = 100, output_tokens: int = 100
    ) -> list[PlannedStream]:
        return [
            PlannedStream(0.05 * i, input_tokens, output_tokens, READER)
            for i in range(count)
        ]

    return make


def _add(streams: LiveStreams, request_id: str, row: dict[str, Any], runs: bool) -> None:
    """Let a stream live its past: arrive, get memory, get its tokens, lose its memory."""
    tokens, age_s = row.get("tokens", 0), row.get("age_s", 10.0)
    since_s = row.get("since_s", 5.0)
    reader = Expectation(row.get("ttft_s", 1.0), row.get("tds", 5.0))
    streams.add(request_id, reader, NOW_S - age_s, row.get("prompt_tokens", 64))
    for _ in range(row.get("preemptions", 0)):
        streams.preempted(request_id, NOW_S - since_s)
    if runs:
        streams.admitted([request_id], NOW_S - since_s)
    if tokens:
        streams.delivered(request_id, tokens)
        streams.flush(NOW_S - row.get("last_token_s", 0.0))
    if row.get("away", False):
        streams.on_feedback([(request_id, Feedback(paused=True))], NOW_S)


@pytest.fixture(scope="session")
def snapshot_of() -> Callable[..., Snapshot]:
    """Snapshots of streams with a past, each named by what is remarkable about it.

    A stream is a dict: `tokens` it got, all `last_token_s` ago; `age_s` since it arrived;
    `since_s` since it got or, if it has `preemptions`, lost its memory; `tds`, `ttft_s`;
    `prompt_tokens`, 64 unless said otherwise, which takes 4 blocks; `away` if its reader
    has just said so. Unless it `grows`, a stream needs no more blocks than it has tokens
    for, which tests can count.
    """

    def make(
        running: Sequence[dict[str, Any]],
        waiting: Sequence[dict[str, Any]] = (),
        *,
        free_blocks: int = 0,
        can_free: Sequence[bool] | None = None,
        step_time: StepTime = STEP_TIME,
        settings: SchedulerSettings = SETTINGS,
        grows: bool = False,
        horizon_s: float = HORIZON_S,
        **replaced: Any,
    ) -> Snapshot:
        streams = LiveStreams()
        ids = [str(i) for i in range(len(running) + len(waiting))]
        for i, row in enumerate([*running, *waiting]):
            _add(streams, ids[i], row, runs=i < len(running))
        slots = streams.slots(ids)
        of_running = slots[: len(running)]
        held = np.ceil(streams.context_tokens(of_running) / BLOCK_TOKENS)
        engine = EngineState(
            now_s=NOW_S,
            running=of_running,
            waiting=slots[len(running) :],
            can_free=np.array(can_free or [True] * len(running), dtype=np.bool_),
            uncomputed_tokens=streams.prompt_tokens[of_running].astype(np.float64),
            total_blocks=int(held.sum()) + free_blocks,
            free_blocks=free_blocks,
            block_size_tokens=BLOCK_TOKENS,
            max_running=100,
            token_budget=2048,
            tokens_per_s=np.inf,
            computed_share=1.0,
        )
        snapshot = take_snapshot(engine, streams, step_time, settings, horizon_s)
        if not grows:
            blocks = np.ceil(snapshot.context_tokens / BLOCK_TOKENS).astype(np.int64)
            blocks = np.minimum(blocks, engine.total_blocks)
            snapshot = dataclasses.replace(snapshot, blocks=blocks)
        return dataclasses.replace(snapshot, **replaced) if replaced else snapshot

    return make


@pytest.fixture(scope="session")
def random_snapshot(snapshot_of) -> Callable[[int], Snapshot]:
    """A snapshot drawn from a seed: any load, from an idle engine to a flooded one."""

    def draw(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
        return [
            {
                "prompt_tokens": int(rng.integers(1, 200)),
                "tokens": int(rng.integers(0, 60)) * int(rng.random() < 0.7),
                "age_s": float(rng.uniform(0, 40)),
                "since_s": float(rng.uniform(0, 8)),
                "last_token_s": float(rng.uniform(0, 6)),
                "tds": float(rng.uniform(2, 8)),
                "preemptions": int(rng.integers(0, 3)),
                "away": bool(rng.random() < 0.15),
            }
            for _ in range(count)
        ]

    def make(seed: int) -> Snapshot:
        rng = np.random.default_rng(seed)
        num_running, num_waiting = (int(n) for n in rng.integers(0, 13, 2))
        slow = float(rng.choice([0.0, 0.03]))
        return snapshot_of(
            draw(rng, num_running),
            draw(rng, num_waiting),
            free_blocks=int(rng.integers(0, 30)),
            max_running=max(1, num_running + int(rng.integers(0, 6))),
            can_free=[bool(free) for free in rng.random(num_running) < 0.8],
            step_time=StepTime(0.02, slow, 1e-4),
            grows=True,
        )

    return make
