"""vLLM's scheduler with somebody who watches: what becomes of every stream.

Whatever fails here is counted and said once, and vLLM goes on.
"""

from __future__ import annotations

import time
from typing import Any

from vllm.logger import init_logger
from vllm.sampling_params import RequestOutputKind
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

from qoe import progress_or_fresh, reader_or_default
from qoe.tenant import tenant_or_nobody
from scheduler import versions
from scheduler.activity import Activity
from scheduler.feedback import FeedbackIntake
from scheduler.guard import Guard
from scheduler.live_streams import LiveStreams
from scheduler.patience import Patience
from scheduler.reasoning import Reasoning
from scheduler.reporting import EngineStatus, Reporter
from scheduler.request_ids import serve_key
from scheduler.resumes import Resumes
from scheduler.settings import SchedulerSettings
from scheduler.step_time import StepTimeModel

logger = init_logger(__name__)

# A clock that jumped must not make a stream an hour late.
MAX_QUEUED_S = 600.0


class TrackingScheduler(AsyncScheduler):
    """vLLM's scheduler, which knows its readers, measures its steps and reports both.

    It decides nothing. Settings come from the environment (`scheduler.settings`).

    Attributes:
        now_s: Monotonic clock; replaced in virtual time.
        wall_s: Clock of `Request.arrival_time`; replaced in virtual time.
    """

    running: list[Request]
    max_num_running_reqs: int

    now_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if why := versions.refusal_of_hooks(self, AsyncScheduler):
            raise ValueError(why)
        self.settings = SchedulerSettings.from_environment()
        self.streams = LiveStreams()
        self.patience = Patience()
        self.step_time = StepTimeModel()
        self.resumes = Resumes()
        self._guarded = Guard(logger)
        self.activity = Activity(self.step_time, self.resumes)
        self._reporter = Reporter.from_environment(self.settings)
        self.feedback = FeedbackIntake.from_environment()
        self.reasoning = Reasoning(None)
        with self._guarded("making a parser of reasoning"):
            self.reasoning = Reasoning.of(self.structured_output_manager)
        with self._guarded("announcing the engine"):
            self._report(self.now_s(), at_once=True)

    @property
    def _half_of_vllm(self) -> type[Scheduler]:
        """Whose tokens count: vLLM makes its plain scheduler where steps do not overlap.

        There, a token that nobody has sampled must be nobody's ground for the next one.
        """
        overlaps = self.scheduler_config.async_scheduling
        half: type[Scheduler] = AsyncScheduler if overlaps else Scheduler
        return half

    @property
    def plan_failures_total(self) -> int:
        """Steps that ran as plain vLLM because something of ours failed."""
        return self._guarded.failures_total

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        output = super().schedule(throttle_prefills)
        with self._guarded("tracking admissions"):
            self._track_admissions(output)
        return output

    def add_request(self, request: Request) -> None:
        super().add_request(request)
        # A client that speaks on, or says that it is done, comes with one name twice.
        if self.requests.get(request.request_id) is not request:
            return
        cached_tokens = 0
        with self._guarded("looking a prompt up"):
            cached_tokens = self._cached_tokens(request)
        with self._guarded("tracking a new stream"):
            self._track(request, cached_tokens)

    def _track(self, request: Request, cached_tokens: int) -> None:
        """Follow a stream from now on."""
        # A pooling request has no sampling parameters.
        params = request.sampling_params
        fields = getattr(params, "extra_args", None)
        kind = getattr(params or request.pooling_params, "output_kind", None)
        queued_s = min(max(self.wall_s() - request.arrival_time, 0.0), MAX_QUEUED_S)
        arrived_at_s = self.now_s() - queued_s
        reader = reader_or_default(
            fields,
            self.settings.default_expectation,
            is_stream=kind != RequestOutputKind.FINAL_ONLY,
        )
        progress = progress_or_fresh(fields)
        self.streams.add(
            request.request_id,
            reader,
            arrived_at_s=arrived_at_s,
            prompt_tokens=request.num_prompt_tokens,
            key=serve_key(request.request_id),
            progress=progress,
            cached_tokens=cached_tokens,
            tenant=tenant_or_nobody(fields),
        )
        # Nobody can refuse what has no sampling parameters, nor what has begun.
        if params is not None and reader.patience_s and not progress.tokens:
            self.patience.begin(
                request.request_id,
                reader.patience_s,
                arrived_at_s - progress.age_s,
                request.num_prompt_tokens,
            )
        self.reasoning.begin(request.request_id, request.prompt_token_ids)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        outputs: dict[int, EngineCoreOutputs] = super().update_from_output(
            scheduler_output, model_runner_output
        )
        with self._guarded("refusing streams"):
            self._refuse(outputs)
        with self._guarded("tracking output"):
            now_s = self.now_s()
            self.streams.flush(now_s)
            drafts = scheduler_output.scheduled_spec_decode_tokens.values()
            self.step_time.step_ended(
                now_s,
                num_streams=len(scheduler_output.num_scheduled_tokens),
                num_tokens=scheduler_output.total_num_scheduled_tokens
                - sum(map(len, drafts)),
                goes_on=bool(self.streams),
            )
            self._report(now_s)
        return outputs

    def _refuse(self, outputs: dict[int, EngineCoreOutputs]) -> None:
        """End whom nobody can serve, and say so in `outputs`; for a subclass."""

    def _cached_tokens(self, request: Request) -> int:
        """Of a new stream's prompt, what other streams have left in the prefix cache."""
        if self.connector is not None:
            return 0
        return int(self.kv_cache_manager.get_computed_blocks(request)[1])

    def _update_after_schedule(self, scheduler_output: SchedulerOutput) -> None:
        self._half_of_vllm._update_after_schedule(self, scheduler_output)

    def _update_request_with_output(
        self, request: Request, new_token_ids: list[int], is_stale: bool = False
    ) -> tuple[list[int], bool]:
        owner = self._half_of_vllm
        tokens, stopped = owner._update_request_with_output(
            self, request, new_token_ids, is_stale
        )
        with self._guarded("tracking a token"):
            name, hidden = request.request_id, 0
            self.patience.end(name)
            if self.reasoning:
                written = request.output_token_ids
                hidden = self.reasoning.num_hidden(name, written, tokens)
            self.streams.delivered(name, len(tokens), hidden)
        return tokens, stopped

    def _preempt_request(
        self, request: Request, timestamp: float, drop_stale_output: bool = False
    ) -> None:
        super()._preempt_request(request, timestamp, drop_stale_output)
        with self._guarded("tracking a preemption"):
            self.streams.preempted(request.request_id, self.now_s())

    def _free_request(self, request: Request, delay_free_blocks: bool = False) -> Any:
        freed = super()._free_request(request, delay_free_blocks)
        with self._guarded("forgetting a stream"):
            has_left = request.status == RequestStatus.FINISHED_ABORTED
            if request.pooling_params is not None and not has_left:
                # Its answer has no tokens, and comes all at once.
                self.streams.delivered(request.request_id, 1)
            self.reasoning.forget(request.request_id)
            self.patience.end(request.request_id)
            self.streams.remove(request.request_id, self.now_s(), has_left=has_left)
            if not self.streams:
                # An abort may be the last thing that happens before the engine sleeps.
                self._report(self.now_s(), at_once=True)
        return freed

    def shutdown(self) -> None:
        with self._guarded("closing sockets"):
            self._reporter.close()
            self.feedback.close()
        super().shutdown()

    def _track_admissions(self, output: SchedulerOutput) -> None:
        cached = output.scheduled_cached_reqs
        admitted = [new.req_id for new in output.scheduled_new_reqs]
        resumed = {}
        if cached.resumed_req_ids:
            # vLLM has them in a set, whose order is another one in every process.
            found = zip(cached.req_ids, cached.num_computed_tokens, strict=True)
            resumed = {r: tokens for r, tokens in found if r in cached.resumed_req_ids}
            admitted += resumed
        if admitted:
            self.streams.admitted(admitted, self.now_s())
        for request_id, tokens in resumed.items():
            self.resumes.resumed(tokens, self.requests[request_id].num_tokens)

    def _report(self, now_s: float, at_once: bool = False) -> None:
        if at_once or self._reporter.is_due(now_s):
            pool = self.kv_cache_manager.block_pool
            due = {r.request_id: r.num_tokens - r.num_computed_tokens for r in self.running}
            status = EngineStatus(
                now_s=now_s,
                step_s=self.step_time.step_s if self.step_time.is_stepping else 0.0,
                total_blocks=pool.num_gpu_blocks - 1,
                free_blocks=pool.get_num_free_blocks(),
                block_size_tokens=self.block_size,
                plan_failures_total=self.plan_failures_total,
                max_running=self.max_num_running_reqs,
                step_time=self.step_time.fitted(),
                tokens_per_s=self.step_time.tokens_per_s,
                uncomputed_tokens=due,
                activity=self.activity,
            )
            self._reporter.publish(status, self.streams)
