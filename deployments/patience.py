"""A stream that the engine refused is an error on its way to the client, not an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from vllm.exceptions import GenerationError

from qoe import Expectation, expectation_or_default
from scheduler.patience import retry_after_of


class OutOfPatienceError(GenerationError):
    """No first token could come in time; vLLM answers it as HTTP 503, streamed or not."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.status_code = HTTPStatus.SERVICE_UNAVAILABLE


def refusing(llm_class: Any, default: Expectation) -> Any:
    """A subclass of `llm_class` that raises `OutOfPatienceError` for what was refused.

    Of several answers to one request each has that patience for itself, and the first one
    that is refused ends them all.

    Args:
        llm_class: vLLM's `AsyncLLM`, or what Serve LLM made of it.
        default: What the deployment expects for requests that say nothing.
    """

    class RefusingLLM(llm_class):
        def generate(
            self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
        ) -> AsyncGenerator[Any, None]:
            outputs: AsyncGenerator[Any, None] = super().generate(
                prompt, sampling_params, request_id, **options
            )
            reader = expectation_or_default(sampling_params.extra_args, default)
            return outputs if reader.patience_s is None else _checked(outputs)

    return RefusingLLM


async def _checked(outputs: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    async with aclosing(outputs):
        async for output in outputs:
            for answer in output.outputs:
                if retry_after_of(answer.stop_reason) is not None:
                    raise OutOfPatienceError(answer.stop_reason)
            yield output
