"""Serve LLM's ingress of the handle path, which outlives the replicas behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi.exceptions import RequestValidationError
from ray.exceptions import RayActorError
from ray.llm._internal.serve.core.configs.openai_api_models import ErrorResponse
from ray.llm._internal.serve.core.ingress.ingress import (
    DEFAULT_ENDPOINTS,
    CallMethod,
    OpenAiIngress,
)
from ray.llm._internal.serve.observability.logging import get_logger
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vllm.v1.engine.exceptions import EngineDeadError

from deployments.access.guard import AccessSettings, guard
from deployments.continuation import fields_set, obstacle
from deployments.demo_page import FleetReports, mount_demo_page
from deployments.feedback import PATH, FeedbackLimit, ask_replicas, respond
from deployments.first_byte import CLIENT_ERROR, FirstByteMiddleware
from deployments.keep_alive import keep_alive
from deployments.leaving import TiedHandle
from deployments.middleware import FIELDS_KEY
from deployments.relay import (
    DATA,
    DONE,
    SERVER_ERROR,
    UNAVAILABLE,
    BrokenOffError,
    Relay,
    error_code,
    error_event,
    error_of,
)
from deployments.replica_port import listen_at_node_address
from qoe import Expectation, Feedback
from qoe.expectation import named
from scheduler.patience import retry_after_of

logger = get_logger(__name__)

ANSWERS = (CallMethod.CHAT.value, CallMethod.COMPLETIONS.value)
# A replica whose engine has died says so to routers; they need a moment to learn it.
RETRY_DELAY_S = 0.2


class ResumingIngress(OpenAiIngress):
    """Goes on with a stream through another replica when the one that writes it dies.

    Args:
        max_continuations: How often one answer may lose its replica.
        resume_timeout_s: How long a reader who has a part of an answer waits for more.
        default_expectation: Of readers who say nothing.
        keep_alive_interval_s: How long a stream may be silent; None for as long as it is.
        access: Who may ask, and for what.

    Invariants:
        An answer of which nothing was sent is asked for again, as it was, unless the
            engine has refused it: its patience is over everywhere.
        A stream ends with its finish reason or with one event that says what happened.
        A replica stops when nobody reads what it writes.
    """

    def __init__(
        self,
        *args: Any,
        max_continuations: int,
        resume_timeout_s: float,
        default_expectation: Expectation,
        keep_alive_interval_s: float | None = None,
        access: AccessSettings,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._max_continuations = max_continuations
        self._resume_timeout_s = resume_timeout_s
        self._default_expectation = default_expectation
        self._keep_alive_interval_s = keep_alive_interval_s
        self._access = access
        self._limit = FeedbackLimit()

    def _set_asgi_app(self, app: Any) -> None:
        # Serve has made the app of this replica, and has not started it.
        keep_alive(app, self._keep_alive_interval_s)
        app.add_middleware(FirstByteMiddleware, failed=UNAVAILABLE)
        app.add_exception_handler(RequestValidationError, _invalid)
        guard(app, self._access, self._default_expectation)
        mount_demo_page(app, FleetReports(self._any_handle))
        listen_at_node_address()
        super()._set_asgi_app(app)

    def _get_configured_serve_handle(self, model_id: str) -> Any:
        return TiedHandle(super()._get_configured_serve_handle(model_id))

    def _any_handle(self) -> Any:
        return next(iter(self._default_serve_handles.values()))

    async def qoe(self, request_id: str, request: Request) -> Response:
        """What a client says of its reader goes to the replica that writes its stream."""
        return await respond(request_id, request, self._send_feedback, self._limit)

    async def _send_feedback(self, request_id: str, feedback: Feedback) -> bool:
        handles = self._default_serve_handles.values()
        return await ask_replicas(handles, request_id, feedback)

    async def _get_response(
        self, *, body: Any, call_method: str, raw_request: Any = None
    ) -> AsyncGenerator[Any, None]:
        if call_method not in ANSWERS:
            async for item in super()._get_response(
                body=body, call_method=call_method, raw_request=raw_request
            ):
                yield item
            return
        answer = _Answer(body, self._default_expectation)
        for attempt in range(1 + self._max_continuations):
            asked = answer.request(is_first=attempt == 0)
            stream = super()._get_response(
                body=asked, call_method=call_method, raw_request=raw_request
            )
            try:
                async with aclosing(stream):
                    async for item in self._items(stream, answer):
                        for told in answer.told(item):
                            yield told
                return
            except (
                RayActorError,
                EngineDeadError,
                BrokenOffError,
                TimeoutError,
            ) as error:
                logger.warning("Attempt %d of an answer failed: %r", attempt + 1, error)
                is_last = attempt == self._max_continuations
                if not answer.relay.has_begun and is_last:
                    raise
                if ending := answer.ending(error, is_last=is_last):
                    yield ending
                    return
                await asyncio.sleep(RETRY_DELAY_S)

    async def _items(self, stream: AsyncIterator[Any], answer: _Answer) -> Any:
        """What a replica sends; a reader who has read a part waits only so long for it."""
        timeout_s = self._resume_timeout_s if answer.relay.has_begun else None
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    item = await anext(stream)
            except StopAsyncIteration:
                return
            timeout_s = None
            yield item


async def _invalid(_: Request, error: Exception) -> Response:
    """A request of another form is its client's fault.

    Serve LLM's own handler quotes what came, and fails where that is bytes.
    """
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(named(str(part)) for part in first["loc"])
    said = {
        "message": f"Invalid request format: {where}: {first['msg']}",
        "type": first["type"],
        "param": where,
        "code": CLIENT_ERROR,
    }
    return JSONResponse({"error": said}, status_code=CLIENT_ERROR)


def serve_feedback() -> None:
    """Have Serve LLM build its ingress with the endpoint `ResumingIngress.qoe`.

    It takes a class for the ingress, but its endpoints from a table of its own.
    """
    DEFAULT_ENDPOINTS["qoe"] = lambda app: app.post(PATH)


class _Answer:
    """One request of a client, over all attempts to answer it."""

    def __init__(self, body: Any, default: Expectation) -> None:
        given = fields_set(body)
        fields = given.get(FIELDS_KEY)
        self._fields: dict[str, Any] = fields if isinstance(fields, dict) else {}
        self._body = body
        options = getattr(body, "stream_options", None)
        self._is_stream = bool(body.stream)
        self._obstacle = obstacle(given)
        self.relay = Relay(
            self._fields,
            default,
            time.monotonic,
            wants_token_ids=bool(body.return_token_ids),
            wants_usage=bool(options and options.include_usage),
        )

    def request(self, *, is_first: bool) -> Any:
        """The body of the next attempt."""
        if self._obstacle is not None or not self._is_stream:
            return self._body
        update: dict[str, Any] = {"return_token_ids": True}
        if not is_first:
            update[FIELDS_KEY] = self._fields | self.relay.next_attempt()
        return self._body.model_copy(update=update)

    def told(self, item: Any) -> list[Any]:
        """What the client is told of an item that a replica sent.

        Raises:
            BrokenOffError: The replica says that it failed.
        """
        events = item if isinstance(item, list) else [item]
        return [t for t in map(self._told, events) if t is not None]

    def ending(self, error: Exception, *, is_last: bool) -> str | None:
        """The last event for the client; None if the answer can go on."""
        relay = self.relay
        if relay.has_finished:
            return relay.ending() + DONE
        if not relay.has_begun:
            return None
        if self._obstacle is not None:
            why = self._obstacle
        elif relay.is_blind:
            why = "the replica did not say which tokens it wrote"
        elif is_last:
            why = "too many replicas failed"
        else:
            return None
        return (
            error_event(
                f"The replica that wrote this answer failed ({type(error).__name__}), "
                f"and it cannot be continued: {why}."
            )
            + DONE
        )

    def _told(self, event: Any) -> Any:
        code = error_code(event) if isinstance(event, str) else None
        is_final = _is_refusal(event) or (code is not None and code < SERVER_ERROR)
        if is_final and not self.relay.has_begun:
            # The status is still to be said.
            if isinstance(event, ErrorResponse):
                return event
            return ErrorResponse.model_validate_json(event.removeprefix(DATA))
        if isinstance(event, str) and self._obstacle is None:
            told = self.relay.rewrite(event)
            return None if told is None else [told]
        if isinstance(event, ErrorResponse):
            # A stream that has begun can be given no other answer.
            code = SERVER_ERROR if self.relay.has_begun else int(event.error.code)
        if code is not None and code >= SERVER_ERROR:
            raise BrokenOffError(str(event))
        self.relay.has_begun = True
        return [event] if isinstance(event, str) else event


def _is_refusal(event: Any) -> bool:
    """Whether an engine says in it that nobody's first token could come in time."""
    if isinstance(event, ErrorResponse):
        return retry_after_of(event.error.message) is not None
    error = error_of(event) if isinstance(event, str) else None
    return error is not None and retry_after_of(error.get("message")) is not None
