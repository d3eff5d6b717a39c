"""The replica: Ray Serve LLM's server, its engine's reports, and checked QoE fields."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any

import msgspec
from ray import serve, util
from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ErrorInfo,
    ErrorResponse,
)
from ray.serve.llm import LLMServer
from starlette.requests import Request
from starlette.responses import Response

from deployments.access.guard import AccessSettings, guard
from deployments.autoscaling import autoscaling_stats
from deployments.continuation import fields_set
from deployments.demo_page import FleetReports, mount_demo_page
from deployments.environment import variable
from deployments.feedback import PATH as FEEDBACK_PATH
from deployments.feedback import EngineFeedback, FeedbackLimit, ask_replicas, respond
from deployments.first_byte import FirstByteMiddleware
from deployments.keep_alive import keep_alive
from deployments.leaving import EndingMiddleware, LeavingMiddleware
from deployments.metrics import ReplicaMetrics
from deployments.middleware import Refusal, refusal_of
from deployments.pulse import PERIOD_S, EnginePulse
from deployments.replica_port import listen_at_node_address
from deployments.telemetry import ReplicaTelemetry
from qoe import Feedback
from scheduler.settings import (
    FEEDBACK_ENDPOINT_ENV,
    METRICS_ENDPOINT_ENV,
    REPORT_ENDPOINT_ENV,
    SchedulerSettings,
)

logger = logging.getLogger(__name__)

# Of `LLMConfig.experimental_configs`: how many seconds a stream may be silent; absent or
# None for as long as it is.
KEEP_ALIVE_KEY = "andes_keep_alive_interval_s"
# The fields of `AccessSettings`; absent for its defaults.
ACCESS_KEY = "andes_access"
# There as well: seconds without an answer after which an engine is killed.
ENGINE_TIMEOUT_KEY = "andes_engine_timeout_s"


class AndesServer(LLMServer):
    """`LLMServer` whose engine reports, and that lets no bad QoE field through.

    Both of Serve LLM's paths are covered: `__serve_build_asgi_app__` for direct streaming,
    `chat` and `completions` for handles.
    """

    _telemetry: ReplicaTelemetry | None = None
    _watch: asyncio.Task[None] | None = None
    _pulse: EnginePulse | None = None
    _metrics: ReplicaMetrics | None = None
    _engine_feedback: EngineFeedback | None = None

    async def start(self) -> None:
        """Start the engine with somebody listening to it."""
        listen_at_node_address()
        telemetry = self._telemetry = ReplicaTelemetry(util.get_node_ip_address())
        metrics = self._metrics = ReplicaMetrics(serve.metrics)
        engine_feedback = self._engine_feedback = EngineFeedback()
        # The engine process inherits the environment it is started in.
        with (
            variable(REPORT_ENDPOINT_ENV, telemetry.engine_endpoint),
            variable(METRICS_ENDPOINT_ENV, metrics.engine_endpoint),
            variable(FEEDBACK_ENDPOINT_ENV, engine_feedback.engine_endpoint),
        ):
            try:
                await super().start()
            except BaseException:
                self._close_channels()
                raise
        # Another engine may have been named in the environment.
        if hasattr(self.engine, "kill"):
            self._pulse = EnginePulse(self.engine.is_sleeping, telemetry.last_report)
        if hasattr(self.engine, "watch_reports"):
            self.engine.watch_reports(telemetry.latest)
            metrics.num_refused = lambda: self.engine.num_refused
        self._watch = asyncio.create_task(self._watch_engine())

    def _get_default_engine_class(self) -> Any:
        accelerator = self._llm_config.accelerator_config
        if accelerator is not None and accelerator.kind == "cpu":
            from deployments.cpu_engine import CpuEngine  # noqa: PLC0415 - imports vLLM

            return CpuEngine
        engine_class = super()._get_default_engine_class()
        from deployments.resumable import (  # noqa: PLC0415 - imports vLLM
            ResumableEngine,
        )

        # Another engine may have been named in the environment.
        is_usual = issubclass(ResumableEngine, engine_class)
        return ResumableEngine if is_usual else engine_class

    async def record_routing_stats(self) -> dict[str, Any]:
        """What routers know of this replica: Serve polls it every second."""
        stats: dict[str, Any] = await super().record_routing_stats()
        return stats | (self._telemetry.routing_stats() if self._telemetry else {})

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What the scaling policy knows of this replica; Serve asks if there is one."""
        return autoscaling_stats(self._telemetry.latest() if self._telemetry else None)

    async def _watch_engine(self) -> None:
        """Tell routers of a dead or silent engine now; Serve asks some times first."""
        while self.engine is not None:
            await asyncio.sleep(PERIOD_S)
            try:
                await self.engine.check_health()
                self._feel_pulse()
            except Exception:
                self._set_accepting(False)
                return

    def _feel_pulse(self) -> None:
        """End an engine that says nothing for too long, so that it is replaced.

        Its streams learn of it then; until then they may still be gone on with.
        """
        if self._pulse is None:
            return
        self._pulse.look()
        self._set_accepting(not self._pulse.is_silent)
        timeout_s = self._llm_config.experimental_configs.get(ENGINE_TIMEOUT_KEY)
        if timeout_s is not None and self._pulse.silent_s >= timeout_s:
            logger.error("The engine answers nothing for %g s and is killed.", timeout_s)
            self.engine.kill()

    async def check_health(self) -> None:
        """As Serve LLM's; routers need not wait until Serve has asked often enough."""
        try:
            await super().check_health()
        except Exception:
            self._set_accepting(False)
            raise
        self._set_accepting(self._pulse is None or not self._pulse.is_silent)

    async def engine_report(self) -> dict[str, Any]:
        """This replica: its id, its process, its engine's last report (None at first)."""
        report = self._telemetry.latest() if self._telemetry else None
        return {
            "pid": os.getpid(),
            "replica_id": serve.get_replica_context().replica_id.unique_id,
            "report": None if report is None else msgspec.to_builtins(report),
        }

    async def on_feedback(self, request_id: str, feedback: Feedback) -> bool:
        """Tell the engine here what a client says; whether it writes that stream."""
        # Another engine may have been named in the environment.
        ids_of = getattr(self.engine, "ids_of", None)
        if self._engine_feedback is None or ids_of is None:
            return False
        return self._engine_feedback.send(ids_of(request_id), feedback)

    async def _send_feedback(self, request_id: str, feedback: Feedback) -> bool:
        """As `on_feedback`, wherever the stream is written."""
        if await self.on_feedback(request_id, feedback):
            return True
        return await ask_replicas([_own_handle()], request_id, feedback)

    async def __serve_build_asgi_app__(self) -> Any:
        app = await super().__serve_build_asgi_app__()
        limit = FeedbackLimit()

        @app.post(FEEDBACK_PATH)  # type: ignore[untyped-decorator]
        async def qoe(request_id: str, request: Request) -> Response:
            return await respond(request_id, request, self._send_feedback, limit)

        keep_alive(app, self._llm_config.experimental_configs.get(KEEP_ALIVE_KEY))
        app.add_middleware(FirstByteMiddleware)
        access = self._llm_config.experimental_configs.get(ACCESS_KEY, {})
        guard(app, AccessSettings.model_validate(access), _default_expectation())
        app.add_middleware(LeavingMiddleware)
        if self._telemetry is not None:
            app.add_middleware(EndingMiddleware, ended=self._telemetry.ended)
        mount_demo_page(app, FleetReports(_own_handle))
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
        # Serve calls it when the last stream has ended; the engine takes its time to stop.
        self._set_accepting(False)
        if self._watch is not None:
            self._watch.cancel()
        if self._pulse is not None:
            self._pulse.close()
        try:
            await super().__del__()
        finally:
            self._close_channels()

    def _close_channels(self) -> None:
        for channel in (self._telemetry, self._metrics, self._engine_feedback):
            if channel is not None:
                channel.close()

    def _set_accepting(self, accepting: bool) -> None:
        if self._telemetry is not None:
            self._telemetry.set_accepting(accepting)


class LocalModel(CallbackBase):
    """Serve LLM's start without its download step, which has nothing to do here.

    That step starts a worker per replica and imports vLLM in it to find so.
    """

    async def on_before_node_init(self) -> None:
        self.ctx.run_init_node = False


# One is enough: each has a router of its own.
@cache
def _own_handle() -> Any:
    deployment = serve.get_replica_context().replica_id.deployment_id
    # Serve would ask its controller whether we exist.
    return serve.get_deployment_handle(
        deployment.name, deployment.app_name, _check_exists=False
    )


def _default_expectation() -> Any:
    return SchedulerSettings.from_environment().default_expectation


def _refusal_of(request: Any) -> Refusal | None:
    return refusal_of(fields_set(request), _default_expectation())


async def _refused(refusal: Refusal) -> AsyncGenerator[Any, None]:
    yield ErrorResponse(
        error=ErrorInfo(
            message=refusal.message,
            type=refusal.type,
            param=refusal.field,
            code=refusal.code,
        )
    )
