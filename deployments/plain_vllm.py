"""For `vllm serve --scheduler-cls scheduler.andes.AndesScheduler`, without a deployment."""

from __future__ import annotations

from collections.abc import Mapping

from deployments.access.caller import SCOPE_KEY, Caller
from deployments.asgi import ASGIApp, Receive, Scope, Send
from deployments.middleware import (
    FIELDS_KEY,
    QoEFieldsMiddleware,
    Refusal,
    RequestRefusedError,
)
from qoe import Caps, resumed_token_ids
from qoe.fields import RESUME_FIELD
from scheduler.settings import SchedulerSettings
from scheduler.unfit import resume_refusal


class PlainVLLMMiddleware(QoEFieldsMiddleware):
    """Refuses bad QoE fields, and to go on with an answer, which plain vLLM cannot.

    `--middleware deployments.plain_vllm.PlainVLLMMiddleware`, beside `--scheduler-cls`.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            app, default=SchedulerSettings.from_environment().default_expectation
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # vLLM asks for keys itself, and knows no names.
        scope.setdefault(SCOPE_KEY, Caller(None, Caps()))
        await super().__call__(scope, receive, send)

    def _added(self, request: Mapping[str, object], caller: Caller) -> dict[str, object]:
        added = super()._added(request, caller)
        fields = request.get(FIELDS_KEY)
        resumed = resumed_token_ids(fields) if isinstance(fields, Mapping) else ()
        if resumed:
            raise RequestRefusedError(Refusal(RESUME_FIELD, resume_refusal(len(resumed))))
        return added
