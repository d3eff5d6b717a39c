"""An engine that holds as many requests as it may takes no more, and says when it may."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from vllm.exceptions import GracefulHTTPError, QueueOverflowError, VLLMValidationError

from scheduler.patience import ASSUMED_RETRY_S, full_refusal, retry_after_s
from telemetry.report import EngineReport


class EngineFullError(GracefulHTTPError):
    """No request is taken now; vLLM answers it as HTTP 503, streamed or not."""

    def __init__(self, message: str) -> None:
        super().__init__(message, HTTPStatus.SERVICE_UNAVAILABLE)


def bounded(llm_class: Any) -> Any:
    """A subclass of `llm_class` whose refusals say how full the engine is, and until when.

    What it refuses, and when, is vLLM's: `max_num_queued_reqs` and `max_num_queued_tokens`.
    It does so without asking the engine, and once more when a prompt has been tokenised.

    Args:
        llm_class: vLLM's `AsyncLLM`, or what Serve LLM made of it.
    """

    class BoundedLLM(llm_class):
        latest_report: Callable[[], EngineReport | None] = staticmethod(lambda: None)
        num_refused = 0

        def check_admission(self, n: int = 1, request_id: str | None = None) -> None:
            config = self.scheduler_config
            most = config.max_num_queued_reqs
            if most is not None and n > most:
                raise VLLMValidationError(
                    f"n={n} is invalid: this engine holds {most} answers at most.",
                    parameter="n",
                )
            try:
                super().check_admission(n, request_id)
            except GracefulHTTPError as error:
                self.num_refused += 1
                takes = f"{config.max_num_queued_tokens} prompt tokens"
                if isinstance(error, QueueOverflowError):
                    takes = f"{most} requests"
                again_s = _retry_after_s(self.latest_report())
                raise EngineFullError(full_refusal(takes, again_s)) from None

    return BoundedLLM


def _retry_after_s(report: EngineReport | None) -> int:
    if report is None:
        return ASSUMED_RETRY_S
    return retry_after_s(report.waiting, report.mean_output_tokens, report.tokens_per_s)
