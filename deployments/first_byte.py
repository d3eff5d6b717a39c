"""A stream's status waits for its first byte: until then it can still be another one.

The first byte is that of a token, or of the comment that breaks a long silence. vLLM says
200 at once and fails inside the stream. Held back, a failure before the first byte is an
HTTP error, and HAProxy may ask another replica, since nothing was answered.
What another replica must not be asked for, since patience is over or engines are full, has
a status of its own.
Serve LLM's ingress puts every error's message three times into a sentence of its own; a
client is told the message.
"""

from __future__ import annotations

import re
from typing import Any

from deployments.asgi import ASGIApp, Message, Receive, Scope, Send
from deployments.middleware import FEEDBACK_PREFIX
from deployments.relay import (
    BAD_GATEWAY,
    DATA,
    SERVER_ERROR,
    UNAVAILABLE,
    error_code,
    error_of,
    written,
)
from scheduler.patience import retry_after_of

EVENT_STREAM = b"text/event-stream"
CLIENT_ERROR = 400
_OURS = (b"content-type", b"content-length")
# `get_response_for_error` in ray.llm's server_utils.py writes it.
_WRAPPED = re.compile(
    r"Message: (.*?)(?: \(Request ID: [^)]*\))?, Internal exception: .*", re.DOTALL
)


class FirstByteMiddleware:
    """Sends the header of an event stream with its first event.

    Invariants:
        A stream that begins with an error is that error, with its status; `failed` for one
            of the server.
        What an engine refused, since it is full or patience is over, is 503, and says after
            how many seconds to come again.
        An error's message is what the one who found it said, and nothing around it.
        Everything else goes through as it comes.

    Args:
        app: What answers.
        failed: The status that has HAProxy ask another replica.
    """

    def __init__(self, app: ASGIApp, failed: int = BAD_GATEWAY) -> None:
        self._app = app
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A word of a reader is no stream: it is to be said again.
        if scope["type"] == "http" and not scope["path"].startswith(FEEDBACK_PREFIX):
            send = _HeldStart(send, self._failed)
        await self._app(scope, receive, send)


class _HeldStart:
    def __init__(self, send: Send, failed: int) -> None:
        self._send = send
        self._failed = failed
        self._held: Message | None = None
        self._is_over = False

    async def __call__(self, message: Message) -> None:
        if self._is_over:
            return
        if message["type"] == "http.response.start" and _may_be_error(message):
            self._held = message
            return
        start, self._held = self._held, None
        if start is not None:
            event = message.get("body", b"").decode(errors="replace")
            error = error_of(event)
            # A body that cannot be read is told as it is, unless it stands for a failure.
            if error or (error is not None and start["status"] < CLIENT_ERROR):
                self._is_over = True
                await self._fail(start, event, error)
                return
            await self._send(start)
        await self._send(message)

    async def _fail(self, held: Message, event: str, error: dict[str, Any]) -> None:
        status = held["status"]
        if status < CLIENT_ERROR:
            status = error_code(event) or SERVER_ERROR
        body = event.removeprefix(DATA).strip()
        said = error.get("message")
        if said != (message := unwrapped(said)):
            body = written({"error": error | {"message": message}})
        again_s = retry_after_of(message)
        if again_s is not None:
            status = UNAVAILABLE
        elif status >= SERVER_ERROR:
            status = self._failed
        headers = [
            *(pair for pair in held.get("headers", ()) if pair[0].lower() not in _OURS),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body.encode())).encode()),
        ]
        if again_s is not None:
            headers.append((b"retry-after", str(again_s).encode()))
        await self._send({**held, "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body.encode()})


def unwrapped(message: Any) -> Any:
    """What was said of an error before Serve LLM's ingress had it."""
    wrapped = _WRAPPED.fullmatch(message) if isinstance(message, str) else None
    return wrapped[1] if wrapped else message


def is_event_stream(start: Message) -> bool:
    """Whether the answer that begins with `start` is a stream of events."""
    return any(
        name.lower() == b"content-type" and EVENT_STREAM in value
        for name, value in start.get("headers", ())
    )


def _may_be_error(start: Message) -> bool:
    return start["status"] >= CLIENT_ERROR or is_event_stream(start)
