"""The real vLLM engine in this process, and what each turn of its loop took."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from vllm.engine.arg_utils import EngineArgs
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.executor.abstract import Executor

from bench.fidelity.arguments import MAX_CONTEXT_TOKENS
from bench.fidelity.clock import Clock
from bench.fidelity.steps import Step
from bench.load import PlannedStream
from bench.replay.cost import StepWork, work_of
from bench.replay.virtual_config import EngineSize
from deployments.environment import variable
from deployments.tiny_model import ensure_tiny_model
from qoe.fields import TDS_FIELD, TTFT_FIELD, WEIGHT_FIELD
from scheduler.andes import AndesScheduler
from scheduler.settings import SETTINGS_ENV, SchedulerSettings

_NOTHING = StepWork(0, 0, 0, 0)
# Token ids of the tiny model that are plain bytes.
_FIRST_TOKEN, _NUM_TOKENS = 3, 250


@dataclass(frozen=True, slots=True)
class Served:
    """What came of a load on the real engine.

    Attributes:
        delivered_at_s: Delivery times of each stream, from the start of the load.
        steps: Every turn of the loop that scheduled something.
        preemptions: Times that a stream lost its KV memory.
        plan_failures: Steps in which the scheduler failed and left the step to vLLM.
    """

    delivered_at_s: tuple[list[float], ...]
    steps: tuple[Step, ...]
    preemptions: int
    plan_failures: int


class _WatchedScheduler(AndesScheduler):
    """Notes what the last step does."""

    last_work = _NOTHING

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        output = super().schedule(throttle_prefills)
        self.last_work = work_of(output.num_scheduled_tokens, self.requests)
        return output


class RealEngine:
    """vLLM's own engine with the tiny model, stepped by whoever calls it.

    Use it from the thread that made it, and close it. The environment must keep the engine
    in this process.

    Args:
        settings: Of the scheduler.
        size: Memory and limits.
        clock: What arrivals, deliveries and the scheduler go by.
    """

    def __init__(self, settings: SchedulerSettings, size: EngineSize, clock: Clock) -> None:
        config = EngineArgs(
            model=str(ensure_tiny_model()),
            dtype="float32",
            enforce_eager=True,
            block_size=size.block_size_tokens,
            num_gpu_blocks_override=size.num_blocks,
            max_model_len=MAX_CONTEXT_TOKENS,
            max_num_seqs=size.max_num_seqs,
            max_num_batched_tokens=size.max_num_batched_tokens,
            distributed_executor_backend="uni",
            use_tqdm_on_load=False,
            scheduler_cls=_WatchedScheduler,
        ).create_engine_config()
        with variable(SETTINGS_ENV, settings.model_dump_json()):
            self._engine = LLMEngine(config, Executor.get_class(config), log_stats=False)
        self._scheduler: Any = self._engine.engine_core.engine_core.scheduler
        self._scheduler.now_s = self._scheduler.wall_s = clock.now_s
        self._num_sent = 0
        self.clock = clock

    def close(self) -> None:
        self._engine.engine_core.shutdown()

    def serve(self, streams: Sequence[PlannedStream]) -> Served:
        """Send each stream at its arrival time and step until all have ended."""
        before = self._totals()
        # The engine core freezes what it starts with; what a run before left is no step.
        gc.collect()
        run = _Run(self, streams)
        run.until_done()
        preemptions, failures = np.subtract(self._totals(), before).tolist()
        return Served(run.delivered_at_s(), tuple(run.steps), preemptions, failures)

    def is_busy(self) -> bool:
        return bool(self._engine.has_unfinished_requests())

    def step(self) -> tuple[StepWork, dict[str, int]]:
        """One step: what it did, and the new tokens of each stream."""
        self._scheduler.last_work = _NOTHING
        outputs = self._engine.step()
        tokens = {o.request_id: len(o.outputs[0].token_ids) for o in outputs}
        return self._scheduler.last_work, tokens

    def send(self, stream: PlannedStream, arrival_time: float) -> str:
        """Submit a stream that arrived then; its id."""
        number, self._num_sent = self._num_sent, self._num_sent + 1
        reader = stream.expectation
        params = SamplingParams(
            temperature=0.0,
            max_tokens=stream.output_tokens,
            ignore_eos=True,
            output_kind=RequestOutputKind.DELTA,
            extra_args={
                TTFT_FIELD: reader.ttft_s,
                TDS_FIELD: reader.tds,
                WEIGHT_FIELD: reader.weight,
            },
        )
        prompt = {"prompt_token_ids": _prompt(number, stream.input_tokens)}
        self._engine.add_request(str(number), prompt, params, arrival_time=arrival_time)
        return str(number)

    def _totals(self) -> tuple[int, int]:
        scheduler = self._scheduler
        return scheduler.streams.preemptions_total, scheduler.plan_failures_total


class _Run:
    """One load on the wall clock; `steps` are the turns that did something."""

    def __init__(self, engine: RealEngine, streams: Sequence[PlannedStream]) -> None:
        self.steps: list[Step] = []
        self._engine = engine
        self._todo = sorted(
            enumerate(streams), key=lambda item: item[1].arrival_s, reverse=True
        )
        self._row_of: dict[str, int] = {}
        self._delivered_at_s: list[list[float]] = [[] for _ in streams]
        self._clock = engine.clock
        self._started_s = self._clock.now_s()

    def until_done(self) -> None:
        turned_s = self._now_s()
        while self._todo or self._engine.is_busy():
            if not self._engine.is_busy():
                self._clock.pass_until(self._started_s + self._todo[-1][1].arrival_s)
                turned_s = self._now_s()
            self._send_due()
            work, tokens = self._engine.step()
            now_s = self._now_s()
            for request_id, count in tokens.items():
                self._delivered_at_s[self._row_of[request_id]] += [now_s] * count
            if work != _NOTHING:
                self.steps.append(Step(now_s - turned_s, work))
            turned_s = now_s

    def delivered_at_s(self) -> tuple[list[float], ...]:
        return tuple(self._delivered_at_s)

    def _send_due(self) -> None:
        now_s = self._now_s()
        while self._todo and self._todo[-1][1].arrival_s <= now_s:
            row, stream = self._todo.pop()
            arrival_time = self._started_s + stream.arrival_s
            self._row_of[self._engine.send(stream, arrival_time)] = row

    def _now_s(self) -> float:
        return self._clock.now_s() - self._started_s


def _prompt(number: int, length: int) -> list[int]:
    """No two begin alike: streams share a prefix only with their own past."""
    high, low = divmod(number, _NUM_TOKENS)
    head = [_FIRST_TOKEN + low, _FIRST_TOKEN + high % _NUM_TOKENS]
    return (head + [_FIRST_TOKEN + number % 97] * length)[:length]
