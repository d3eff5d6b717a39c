"""A stream's status waits for its first token: until then it can still be another one.

vLLM answers 200 at once and fails inside the stream. Held back, a failure before the first
token is an HTTP error, and HAProxy may ask another replica, since nothing was answered.
"""

from __future__ import annotations

from typing import Any

from deployments.middleware import ASGIApp, Message, Receive, Scope, Send
from deployments.relay import DATA, SERVER_ERROR, UNAVAILABLE, error_code

EVENT_STREAM = b"text/event-stream"


class FirstByteMiddleware:
    """Sends the header of an event stream with its first event.

    Invariants:
        A stream that begins with an error is that error, with its status; 503, which
            HAProxy retries elsewhere, for one of the server.
        Everything else goes through as it comes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            send = _HeldStart(send)
        await self._app(scope, receive, send)


class _HeldStart:
    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: Message | None = None
        self._is_over = False

    async def __call__(self, message: Message) -> None:
        if self._is_over:
            return
        if message["type"] == "http.response.start" and _is_event_stream(message):
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

    async def _fail(self, code: int, event: str) -> None:
        body = event.removeprefix(DATA).strip().encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        status = UNAVAILABLE if code >= SERVER_ERROR else code
        start: dict[str, Any] = {"type": "http.response.start", "status": status}
        await self._send(start | {"headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _is_event_stream(start: Message) -> bool:
    return any(
        name.lower() == b"content-type" and EVENT_STREAM in value
        for name, value in start.get("headers", ())
    )
