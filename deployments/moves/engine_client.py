"""A request at vLLM's engine client, as something that can be moved."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import InputStreamError

from deployments.moves.contract import HandOver, MovedError, Piece
from deployments.moves.streams import Moves
from qoe.fields import PREFIX
from scheduler.request_ids import serve_key

# What an engine appends to a request's name; who asks for a key does not know it yet.
ANY_SUFFIX = "-" + "0" * 8
# What the engine keeps of an answer beyond its tokens, and a move would lose; by value that
# says there is none of it. The parsers above the client stay where they are.
_UNKEPT = {
    "n": 1,
    "output_kind": RequestOutputKind.DELTA,
    "seed": None,
    "logprobs": None,
    "prompt_logprobs": None,
    "logprob_token_ids": None,
    "structured_outputs": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "thinking_token_budget": None,
    "repetition_detection": None,
    "trace_decode_token_ids": None,
}
_OPTIONS = ("priority",)

# The request whose part the engine client is adding in this task.
WRITTEN_FOR: ContextVar[EngineSource | None] = ContextVar("WRITTEN_FOR", default=None)


def is_movable(prompt: Any, params: Any, options: dict[str, Any]) -> bool:
    """Whether another replica can go on exactly with a stream of this request.

    Args:
        prompt: As `AsyncLLM.generate` takes it,
        params: and its sampling parameters,
        options: and what else it is given.
    """
    return (
        isinstance(prompt, dict)
        and prompt.get("type") == "token"
        and all(getattr(params, name) == value for name, value in _UNKEPT.items())
        and not params.bad_words
        and all(name.startswith(PREFIX) for name in params.extra_args or {})
        and options.get("lora_request") is None
        and options.get("data_parallel_rank") is None
    )


def moving(llm_class: Any) -> Any:
    """A subclass of `llm_class` whose streams others may go on with.

    Its `moves` has them do so; without one it is what `llm_class` is.

    Args:
        llm_class: vLLM's `AsyncLLM`, one that can resume.
    """

    class MovingLLM(llm_class):
        moves: Moves | None = None

        def generate(
            self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
        ) -> AsyncGenerator[Any, None]:
            generate: Callable[..., AsyncGenerator[Any, None]] = super().generate
            if self.moves is None or not is_movable(prompt, sampling_params, options):
                return generate(prompt, sampling_params, request_id, **options)
            source = EngineSource(generate, prompt, sampling_params, request_id, options)
            return self.moves.outputs(source)

        async def take_over(self, asked: HandOver) -> AsyncGenerator[Piece, None]:
            """Go on with a stream of another replica.

            Raises:
                ValueError: It was meant for somebody else, or this one moves nothing.
            """
            if self.moves is None or self.moves.home != asked.to:
                raise ValueError(f"{asked.request_id} was handed over to {asked.to}")
            prompt, params = asked.prompt, asked.params
            source = EngineSource(
                super().generate, prompt, params, asked.request_id, asked.options
            )
            async with aclosing(self.moves.outputs(source, asked.num_moved)) as outputs:
                async for output in outputs:
                    yield source.piece(output)

        def check_admission(self, *args: Any, **kwargs: Any) -> None:
            source = WRITTEN_FOR.get()
            # What comes back was taken long ago, however full it is by now.
            if source is None or not source.is_back:
                super().check_admission(*args, **kwargs)

        async def add_request(self, *args: Any, **kwargs: Any) -> Any:
            queue = await super().add_request(*args, **kwargs)
            if (source := WRITTEN_FOR.get()) is not None:
                source.queue = queue
            return queue

    return MovingLLM


class EngineSource:
    """A movable request; `deployments.moves.contract.Source`.

    Args:
        generate: `AsyncLLM.generate`.
        prompt: What is to be given to it,
        params: and this,
        request_id: and this,
        options: and these.

    Attributes:
        queue: Where the engine client puts what the engine writes; None before it is asked.
        is_back: Whether the local engine had it before.
    """

    def __init__(
        self,
        generate: Callable[..., AsyncGenerator[Any, None]],
        prompt: Any,
        params: Any,
        request_id: str,
        options: dict[str, Any],
    ) -> None:
        self._generate = generate
        self._prompt = prompt
        self._params = params
        self._request_id = request_id
        self._options = options
        self.queue: Any = None
        self.is_back = False
        self.request_key = serve_key(request_id + ANY_SUFFIX)
        self.fields: dict[str, Any] = params.extra_args or {}
        self.prompt_tokens = len(prompt["prompt_token_ids"])
        self.max_tokens: int | None = params.max_tokens

    async def start(self, resume_fields: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Have the local engine write it, or what is left of it."""
        self.is_back, self.queue = self.queue is not None, None
        params = self._continuing(resume_fields) if resume_fields else self._params
        options = self._options
        outputs = self._generate(self._prompt, params, self._request_id, **options)
        async with aclosing(outputs):
            mark = WRITTEN_FOR.set(self)
            try:
                output = await anext(outputs, None)
            finally:
                WRITTEN_FOR.reset(mark)
            if output is not None:
                yield output
            async for output in outputs:
                yield output

    def stop(self) -> bool:
        """Have what `start` returned raise `MovedError`; False if it cannot now."""
        if self.queue is None:
            return False
        # The way in which vLLM itself ends a request whose input fails: it drops what was
        # not read yet, and aborts this one request, whatever others are called.
        self.queue.put(InputStreamError(MovedError()))
        return True

    def hand_over(self, to: str, resume_fields: dict[str, Any], num_moved: int) -> HandOver:
        """What another replica needs to go on with it."""
        return HandOver(
            to=to,
            request_id=self._request_id,
            prompt=self._prompt,
            params=self._continuing(resume_fields),
            options={n: v for n, v in self._options.items() if n in _OPTIONS},
            num_moved=num_moved,
        )

    def piece(self, output: Any) -> Piece:
        """An output of the local engine for another replica."""
        (answer,) = output.outputs
        return Piece(
            answer.text,
            list(answer.token_ids),
            answer.finish_reason,
            answer.stop_reason,
            output.num_cached_tokens,
        )

    def output(self, piece: Piece) -> RequestOutput:
        """What another replica wrote as the local engine would have."""
        answer = CompletionOutput(
            index=0,
            text=piece.text,
            token_ids=piece.token_ids,
            cumulative_logprob=None,
            logprobs=None,
            finish_reason=piece.finish_reason,
            stop_reason=piece.stop_reason,
        )
        return RequestOutput(
            request_id=self._request_id,
            prompt=self._prompt.get("prompt"),
            prompt_token_ids=self._prompt["prompt_token_ids"],
            prompt_logprobs=None,
            outputs=[answer],
            finished=piece.finish_reason is not None,
            num_cached_tokens=piece.num_cached_tokens,
        )

    def _continuing(self, resume_fields: dict[str, Any]) -> Any:
        params = self._params.clone()
        params.extra_args = self.fields | resume_fields
        return params
