"""A stream's status waits for its first token: until then it can still be another one.

vLLM answers 200 at once and fails inside the stream. Held back, a failure before the first
token is an HTTP error, and HAProxy may ask another replica, since nothing was answered.
What another replica must not be asked for, since patience is over, has a status of its own.
"""

from __future__ import annotations

from typing import Any

from deployments.middleware import (
    FEEDBACK_PREFIX,
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
)
from deployments.relay import (
    BAD_GATEWAY,
    DATA,
    SERVER_ERROR,
    UNAVAILABLE,
    error_code,
    error_of,
)
from scheduler.patience import retry_after_of

EVENT_STREAM = b"text/event-stream"


class FirstByteMiddleware:
    """Sends the header of an event stream with its first event.

    Invariants:
        A stream that begins with an error is that error, with its status; `failed` for one
            of the server, and so for an engine that is full.
        A stream that was refused is 503, and says after how many seconds to come again.
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
            if (code := error_code(event)) is not None:
                self._is_over = True
                await self._fail(code, event)
                return
            await self._send(start)
        await self._send(message)

    async def _fail(self, status: int, event: str) -> None:
        body = event.removeprefix(DATA).strip().encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        again_s = retry_after_of((error_of(event) or {}).get("message"))
        if again_s is not None:
            status = UNAVAILABLE
            headers.append((b"retry-after", str(again_s).encode()))
        elif status >= SERVER_ERROR:
            status = self._failed
        start: dict[str, Any] = {"type": "http.response.start", "status": status}
        await self._send(start | {"headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _may_be_error(start: Message) -> bool:
    return start["status"] == UNAVAILABLE or any(
        name.lower() == b"content-type" and EVENT_STREAM in value
        for name, value in start.get("headers", ())
    )
