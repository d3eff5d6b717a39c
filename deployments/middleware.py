"""QoE fields are checked where requests enter: the engine never sees a bad one.

Everything else about a request is vLLM's to judge, in vLLM's own words.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from deployments.continuation import continuation_refusal
from qoe import (
    Expectation,
    ExpectationError,
    parse_expectation,
    parse_progress,
    resumed_token_ids,
)
from qoe.fields import PREFIX, RESUME_FIELD
from qoe.tenant import parse_tenant
from scheduler.settings import SchedulerSettings
from scheduler.unfit import resume_refusal

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

FIELDS_KEY = "vllm_xargs"
FEEDBACK_PREFIX = "/v1/qoe/"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that must not reach the engine, in the shape of vLLM's own errors."""

    field: str
    message: str

    type = "BadRequestError"
    code = 400

    def body(self) -> bytes:
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.field,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()


def refusal_of(body: Mapping[str, object], default: Expectation) -> Refusal | None:
    """Why the request must be refused, or None.

    Args:
        body: What the client set of it. QoE fields do not belong into its top level;
            `vllm_xargs` that are no mapping are vLLM's to refuse.
        default: What the deployment expects for requests that say nothing.
    """
    for name in body:
        if name.startswith(PREFIX):
            return Refusal(name, _misplaced(name, body[name]))
    fields = body.get(FIELDS_KEY)
    if not isinstance(fields, Mapping):
        return None
    try:
        parse_expectation(fields, default)
        parse_tenant(fields)
        received = parse_progress(fields).tokens
    except ExpectationError as error:
        return Refusal(error.field, str(error))
    if received and (why := continuation_refusal(body, received)):
        return Refusal(RESUME_FIELD, why)
    return None


def _misplaced(name: str, value: object) -> str:
    return (
        f"{name}={value!r:.40} is at the top level of the request: "
        f'it belongs into "{FIELDS_KEY}", as in "{FIELDS_KEY}": {{"{name}": ...}}.'
    )


class QoEFieldsMiddleware:
    """Answers 400 to a JSON request with a bad QoE field and is not there for the others.

    Invariants:
        The app reads the same body, message by message, and then the same disconnect.
        What the app sends is not touched.
        A body that is not a JSON object goes through as it came.
    """

    def __init__(self, app: ASGIApp, *, default: Expectation) -> None:
        self._app = app
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _carries_json(scope):
            await self._app(scope, receive, send)
            return
        messages = await _read_all(receive)
        if refusal := self._refusal(b"".join(m.get("body", b"") for m in messages)):
            await _respond(refusal, send)
            return
        await self._app(scope, _replay(messages, receive), send)

    def _refusal(self, body: bytes) -> Refusal | None:
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(request, dict):
            return None
        return self._refusal_of(request)

    def _refusal_of(self, request: Mapping[str, object]) -> Refusal | None:
        return refusal_of(request, self._default)


class PlainVLLMMiddleware(QoEFieldsMiddleware):
    """The same for a plain vLLM server, which cannot go on with an answer.

    `--middleware deployments.middleware.PlainVLLMMiddleware`, beside `--scheduler-cls`.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            app, default=SchedulerSettings.from_environment().default_expectation
        )

    def _refusal_of(self, request: Mapping[str, object]) -> Refusal | None:
        if refusal := super()._refusal_of(request):
            return refusal
        fields = request.get(FIELDS_KEY)
        resumed = resumed_token_ids(fields) if isinstance(fields, Mapping) else ()
        return Refusal(RESUME_FIELD, resume_refusal(len(resumed))) if resumed else None


def _carries_json(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    # Feedback has fields of its own, and its own refusals.
    if scope.get("path", "").startswith(FEEDBACK_PREFIX):
        return False
    # vLLM refuses every other media type before it looks at the body.
    return any(
        name == b"content-type" and b"application/json" in value.lower()
        for name, value in scope["headers"]
    )


async def _read_all(receive: Receive) -> list[Message]:
    """The messages of the body, up to its end or to the client's going away."""
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _replay(messages: list[Message], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def replayed() -> Message:
        for message in waiting:
            return message
        # A client that goes away while it is answered frees the engine only if the app
        # hears of it.
        return await receive()

    return replayed


async def _respond(refusal: Refusal, send: Send) -> None:
    body = refusal.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": refusal.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
