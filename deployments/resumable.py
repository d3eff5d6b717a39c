"""vLLM's engine client that goes on with a stream which another engine began.

Everything above it sees the request as the client sent it: the template, the parsers, the
server-sent events and the counts know nothing of a continuation. Everything below it sees
a longer prompt.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from copy import copy
from typing import Any

from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from vllm.exceptions import VLLMValidationError

from deployments.admission import EngineFullError, bounded
from deployments.feedback import engine_ids
from deployments.patience import OutOfPatienceError, refusing
from qoe import resumed_token_ids
from qoe.fields import RESUME_FIELD
from scheduler.settings import SchedulerSettings
from telemetry.report import EngineReport


def resuming(llm_class: Any) -> Any:
    """A subclass of `llm_class` for which `qoe_resume_token_ids` count as written.

    Invariants:
        Under greedy decoding the tokens of two parts are those of one answer.
        So are their texts, also where a character, a stop string or what is held back for
        one spans the two.
        `max_tokens`, `min_tokens` and the prompt's length are those of the whole answer.

    Args:
        llm_class: vLLM's `AsyncLLM`, or what Serve LLM made of it.
    """

    class ResumingLLM(llm_class):
        async def _add_request(
            self, request: Any, prompt: str | None, parent: Any, index: int, queue: Any
        ) -> None:
            resumed = _resumed(request)
            if not resumed:
                await super()._add_request(request, prompt, parent, index, queue)
                return
            _require_resumable(request, parent, resumed, self.vllm_config)
            self.check_admission(request_id=request.request_id)
            self.output_processor.add_request(request, prompt, None, index, queue)
            try:
                state = self.output_processor.request_states[request.request_id]
                _catch_up(state.detokenizer, resumed)
                await self.engine_core.add_request_async(_continuing(request, resumed))
            except BaseException:
                self.output_processor.abort_requests([request.request_id], internal=True)
                raise

    return ResumingLLM


class ResumableEngine(VLLMEngine):
    """Serve LLM's engine, with a client that can resume and be refused."""

    def _start_async_llm_engine(self, *args: Any) -> Any:
        client = super()._start_async_llm_engine(*args)
        # Serve LLM names the class itself; which one depends on its router.
        default = SchedulerSettings.from_environment().default_expectation
        client.__class__ = refusing(resuming(bounded(type(client))), default)
        return client

    def chat(self, request: Any, raw_request_info: Any = None) -> AsyncGenerator[Any, None]:
        answer = super().chat(request, raw_request_info)
        return self._told(answer, self._oai_serving_chat)

    def completions(
        self, request: Any, raw_request_info: Any = None
    ) -> AsyncGenerator[Any, None]:
        answer = super().completions(request, raw_request_info)
        return self._told(answer, self._oai_serving_completion)

    async def _told(
        self, answer: AsyncGenerator[Any, None], serving: Any
    ) -> AsyncGenerator[Any, None]:
        """An answer, or the error that Serve LLM does not know."""
        async with aclosing(answer):
            try:
                async for item in answer:
                    yield item
            except (OutOfPatienceError, EngineFullError) as error:
                yield self._make_error_response(serving, error)

    def kill(self) -> None:
        """End an engine that answers nothing; from then on it is a dead one.

        It may be stopped, and would never learn that it is to end.
        """
        manager = self._engine_client.engine_core.resources.engine_manager
        for process in manager.processes:
            process.kill()

    def watch_reports(self, latest: Callable[[], EngineReport | None]) -> None:
        """Say by what the engine reports when a request that is refused may come again."""
        self._engine_client.latest_report = latest

    @property
    def num_refused(self) -> int:
        """Requests that were not taken since the engine was full."""
        return int(self._engine_client.num_refused)

    def ids_of(self, request_id: str) -> list[str]:
        """What the engine calls the live answers to a request of this client's name."""
        processor = self._engine_client.output_processor
        return engine_ids(request_id, processor.external_req_ids)


def _resumed(request: Any) -> Sequence[int]:
    params = request.sampling_params
    # A pooling request has none.
    return resumed_token_ids((params and params.extra_args) or {})


def _require_resumable(
    request: Any, parent: Any, resumed: Sequence[int], config: Any
) -> None:
    """What only the engine knows of a request; the server has refused the rest.

    Raises:
        VLLMValidationError: The first reason why it cannot be continued.
    """
    vocabulary, highest = config.model_config.get_vocab_size(), max(resumed)
    limit = request.sampling_params.max_tokens
    if parent is not None or request.prompt_token_ids is None:
        raise _refused("continues one answer to a prompt of tokens")
    if config.structured_outputs_config.reasoning_parser:
        raise _refused("is not taken where reasoning is set apart from the answer")
    # An engine that looks up a token which is not there dies.
    if highest >= vocabulary:
        raise _refused(f"has the token {highest}: it must be from 0 to {vocabulary - 1}")
    if len(resumed) >= limit:
        raise _refused(f"has {len(resumed)} tokens: the answer ended with {limit}")


def _refused(why: str) -> VLLMValidationError:
    return VLLMValidationError(f"{RESUME_FIELD} {why}.", parameter=RESUME_FIELD)


def _catch_up(detokenizer: Any, resumed: Sequence[int]) -> None:
    """Bring the detokenizer to where that of the first engine was.

    Raises:
        VLLMValidationError: That one had ended there.
    """
    if (stop := detokenizer.update(list(resumed), False)) is not None:
        raise _refused(f"contains the stop string {stop!r}: the answer ended there")
    # What the reader has got is not said again; what was held back still will be.
    detokenizer.get_next_output_text(finished=False, delta=True)


def _continuing(request: Any, resumed: Sequence[int]) -> Any:
    """The request as the engine core gets it: a longer prompt, less to write."""
    params = request.sampling_params.clone()
    params.max_tokens -= len(resumed)
    params.min_tokens = max(0, params.min_tokens - len(resumed))
    continuing = copy(request)
    continuing.prompt_token_ids = [*request.prompt_token_ids, *resumed]
    continuing.sampling_params = params
    return continuing
