"""The replica: Ray Serve LLM's server, its engine's reports, and checked QoE fields."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec
from ray import serve
from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ErrorInfo,
    ErrorResponse,
)
from ray.serve.llm import LLMServer

from deployments.environment import variable
from deployments.middleware import FIELDS_KEY, QoEFieldsMiddleware, Refusal, refusal_of
from scheduler.settings import REPORT_ENDPOINT_ENV, SchedulerSettings
from telemetry.channel import ReportReceiver, new_endpoint
from telemetry.routing_stats import to_routing_stats


class AndesServer(LLMServer):
    """`LLMServer` whose engine reports, and that lets no bad QoE field through.

    Both of Serve LLM's paths are covered: `__serve_build_asgi_app__` for direct streaming,
    `chat` and `completions` for handles.
    """

    _receiver: ReportReceiver | None = None

    async def start(self) -> None:
        """Start the engine with somebody listening to it."""
        endpoint = new_endpoint()
        self._receiver = ReportReceiver(endpoint)
        # The engine process inherits the environment it is started in.
        with variable(REPORT_ENDPOINT_ENV, endpoint):
            try:
                await super().start()
            except BaseException:
                self._receiver.close()
                raise

    def _get_default_engine_class(self) -> Any:
        accelerator = self._llm_config.accelerator_config
        if accelerator is not None and accelerator.kind == "cpu":
            from deployments.cpu_engine import CpuEngine  # noqa: PLC0415 - imports vLLM

            return CpuEngine
        return super()._get_default_engine_class()

    async def record_routing_stats(self) -> dict[str, Any]:
        """What routers know of this replica: Serve polls it every second."""
        stats: dict[str, Any] = await super().record_routing_stats()
        report = self._receiver.latest() if self._receiver else None
        return stats | to_routing_stats(report)

    async def engine_report(self) -> dict[str, Any]:
        """This replica's id and its engine's last report (None before the first)."""
        report = self._receiver.latest() if self._receiver else None
        return {
            "replica_id": serve.get_replica_context().replica_id.unique_id,
            "report": None if report is None else msgspec.to_builtins(report),
        }

    async def __serve_build_asgi_app__(self) -> Any:
        app = await super().__serve_build_asgi_app__()
        app.add_middleware(QoEFieldsMiddleware, default=_default_expectation())
        return app

    async def chat(self, request: Any, raw_request_info: Any = None) -> Any:
        if refusal := _refusal_of(request):
            return _refused(refusal)
        return await super().chat(request, raw_request_info)

    async def completions(self, request: Any, raw_request_info: Any = None) -> Any:
        if refusal := _refusal_of(request):
            return _refused(refusal)
        return await super().completions(request, raw_request_info)

    async def __del__(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
        await super().__del__()


class LocalModel(CallbackBase):
    """Serve LLM's start without its download step, which has nothing to do here.

    That step starts a worker per replica and imports vLLM in it to find so.
    """

    async def on_before_node_init(self) -> None:
        self.ctx.run_init_node = False


def _default_expectation() -> Any:
    return SchedulerSettings.from_environment().default_expectation


def _refusal_of(request: Any) -> Refusal | None:
    """As for a raw body: keys that vLLM does not know end up in `model_extra`."""
    unknown: Mapping[str, object] = request.model_extra or {}
    fields = getattr(request, FIELDS_KEY, None)
    return refusal_of(unknown, fields, _default_expectation())


async def _refused(refusal: Refusal) -> AsyncGenerator[Any, None]:
    yield ErrorResponse(
        error=ErrorInfo(
            message=refusal.message,
            type=refusal.type,
            param=refusal.field,
            code=refusal.code,
        )
    )
