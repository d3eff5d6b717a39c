"""A real vLLM scheduler in virtual time: its own code, no model, no GPU, no clock.

What a step costs comes from a model of it; everything else, from admission to eviction, is
vLLM's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vllm.sampling_params import SamplingParams
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import FinishReason
from vllm.v1.outputs import KVConnectorOutput, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

from bench.load import PlannedStream
from bench.replay.cost import StepCost, work_of
from bench.replay.offload import VirtualOffload
from bench.replay.virtual_config import EngineSize, block_hasher, make_scheduler
from qoe.tenant import SHARE_FIELD, TENANT_FIELD
from scheduler.andes import AndesScheduler
from scheduler.settings import SchedulerSettings

# Steps in a row that may pass with nothing scheduled before a run counts as stuck.
MAX_IDLE_STEPS = 10_000
IDLE_STEP_S = 1e-3

# A made-up token, and the one that ends an answer.
_TOKEN, _EOS = 7, 2
# Tokens of shared text begin here.
_PIECES = 10**6

# A finished or refused stream: its id, and when each token came; none did if refused.
OnDone = Callable[[str, list[float]], None]


@dataclass(slots=True)
class _Tokens:
    """Prompts that share what their streams say, and otherwise only their own past."""

    count: int = 0

    def next_prompt(self, stream: PlannedStream) -> list[int]:
        self.count += 1
        prompt: list[int] = []
        for number, tokens in stream.prefix:
            # Apart from every count, and from other pieces.
            prompt += [_PIECES + 2 * abs(number) + (number < 0)] * tokens
        rest = stream.input_tokens - len(prompt)
        return [*prompt, self.count, *([self.count % 97 + 1] * (rest - 1))]


class VirtualEngine:
    """One engine: real scheduler and KV manager, made-up tokens, a clock that steps set.

    Args:
        settings: Of the scheduler.
        size: Memory and limits.
        cost: Of a step.
        scheduler_cls: The scheduler under test.
        on_done: Called with the delivery times of each stream when it ends; where given,
            the engine forgets the stream, else `delivered_at_s` keeps it.
        max_tokens_factor: A stream ends at its length by EOS, which no scheduler can know;
            its `max_tokens` is this many times that.

    Raises:
        ValueError: The settings say that streams come back from the host, and the size
            does not say how long that takes.

    Attributes:
        now_s: Virtual time, seconds since the engine was made.
        delivered_at_s: Delivery times of every stream's tokens, absolute, by request id.
        scheduler: The scheduler under test.
        scheduler_s: Real seconds the scheduler took in the last step.
        peak_waiting: Most streams that waited for memory after any step.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        size: EngineSize,
        *,
        cost: StepCost | None = None,
        scheduler_cls: type[AsyncScheduler] = AndesScheduler,
        on_done: OnDone | None = None,
        max_tokens_factor: int = 2,
    ) -> None:
        self.now_s = 0.0
        self.cost = cost or StepCost()
        self.delivered_at_s: dict[str, list[float]] = {}
        self.scheduler_s = 0.0
        self.peak_waiting = 0
        self._on_done = on_done
        self._max_tokens_factor = max_tokens_factor
        self._output_tokens: dict[str, int] = {}
        self._tokens = _Tokens()
        self._hasher = block_hasher(size.block_size_tokens)
        self.scheduler: Any = make_scheduler(settings, size, scheduler_cls)
        self.offload: VirtualOffload | None = self.scheduler.connector
        self._set_clock(size)

    def submit(self, request_id: str, stream: PlannedStream) -> None:
        """Hand a stream to the scheduler, at its arrival time whatever `now_s` is."""
        self.delivered_at_s[request_id] = []
        self._output_tokens[request_id] = stream.output_tokens
        reader, tenant = stream.expectation, stream.tenant
        params = SamplingParams(
            max_tokens=stream.output_tokens * self._max_tokens_factor,
            extra_args={
                "qoe_ttft_s": reader.ttft_s,
                "qoe_tds": reader.tds,
                "qoe_weight": reader.weight,
                TENANT_FIELD: tenant.name,
                SHARE_FIELD: tenant.share,
            }
            | ({"qoe_patience_s": reader.patience_s} if reader.patience_s else {}),
        )
        params.update_from_generation_config({}, eos_token_id=_EOS)
        self.scheduler.add_request(
            Request(
                request_id,
                self._tokens.next_prompt(stream),
                params,
                None,
                arrival_time=stream.arrival_s,
                block_hasher=self._hasher,
            )
        )

    def abort(self, request_id: str) -> list[float]:
        """End a stream here, and say when its tokens came."""
        self.scheduler.finish_requests(request_id, RequestStatus.FINISHED_ABORTED)
        del self._output_tokens[request_id]
        return self.delivered_at_s.pop(request_id)

    def step(self) -> SchedulerOutput:
        """One scheduler step, its virtual time, and its tokens.

        `scheduler_s` is then the real time the scheduler took for both of its halves.
        """
        started_s = time.perf_counter()
        output: SchedulerOutput = self.scheduler.schedule()
        self.scheduler_s = time.perf_counter() - started_s
        sampled = self._advance(output)
        request_ids = list(output.num_scheduled_tokens)
        result = ModelRunnerOutput(
            req_ids=request_ids,
            req_id_to_index={r: i for i, r in enumerate(request_ids)},
            sampled_token_ids=sampled,
        )
        if self.offload is not None:
            loaded = self.offload.take_loaded()
            result.kv_connector_output = KVConnectorOutput(finished_recving=loaded or None)
        started_s = time.perf_counter()
        outputs = self.scheduler.update_from_output(output, result)
        self.scheduler_s += time.perf_counter() - started_s
        self._record(outputs)
        self.peak_waiting = max(self.peak_waiting, len(self.scheduler.waiting))
        return output

    def run(self, streams: Iterable[PlannedStream]) -> None:
        """Submit a load by its times, then in its order, and step until every one is done.

        Raises:
            RuntimeError: The scheduler holds streams and serves none of them.
        """
        todo = sorted(
            enumerate(streams), key=lambda item: (item[1].arrival_s, item[0]), reverse=True
        )
        idle_steps = 0
        while todo or self.scheduler.has_unfinished_requests():
            if not self.scheduler.has_unfinished_requests():
                self.now_s = max(self.now_s, todo[-1][1].arrival_s)
            while todo and todo[-1][1].arrival_s <= self.now_s:
                number, stream = todo.pop()
                self.submit(str(number), stream)
            output = self.step()
            idle_steps = 0 if output.num_scheduled_tokens else idle_steps + 1
            if idle_steps > MAX_IDLE_STEPS:
                raise RuntimeError(f"no stream was served in {idle_steps} steps")

    def _advance(self, output: SchedulerOutput) -> list[list[int]]:
        """Move the clock past a step; return the tokens sampled in it."""
        sampled: list[list[int]] = []
        for request_id in output.num_scheduled_tokens:
            request = self.scheduler.requests[request_id]
            if self.offload is not None:
                self.offload.computed(request_id, request.num_computed_tokens)
            if request.is_prefill_chunk:
                sampled.append([])
            else:
                is_last = request.num_output_tokens + 1 == self._output_tokens[request_id]
                sampled.append([_EOS if is_last else _TOKEN])
        if sampled:
            work = work_of(output.num_scheduled_tokens, self.scheduler.requests)
            self.now_s += self.cost.step_s(*work)
        else:
            self._idle()
        return sampled

    def _idle(self) -> None:
        """Nothing was scheduled: wait for a transfer, or a moment."""
        loaded_at_s = self.offload.next_loaded_at_s() if self.offload is not None else None
        self.now_s = max(self.now_s + IDLE_STEP_S, loaded_at_s or 0.0)

    def _record(self, outputs: dict[int, Any]) -> None:
        for client_outputs in outputs.values():
            for output in client_outputs.outputs:
                times = self.delivered_at_s[output.request_id]
                times.extend([self.now_s] * len(output.new_token_ids))
                # vLLM's own errors come without a reason.
                is_refused = isinstance(output.stop_reason, str)
                if output.finish_reason == FinishReason.ERROR and not is_refused:
                    raise RuntimeError(f"request {output.request_id} failed in the engine")
                if output.finish_reason is None:
                    continue
                del self._output_tokens[output.request_id]
                if self._on_done is not None:
                    self._on_done(output.request_id, times)
                    del self.delivered_at_s[output.request_id]

    def _set_clock(self, size: EngineSize) -> None:
        self.scheduler.now_s = lambda: self.now_s
        self.scheduler.wall_s = lambda: self.now_s
        if self.offload is not None:
            self.offload.now_s = lambda: self.now_s
            self.offload.transfer_s_per_token = size.transfer_s_per_token or 0.0
