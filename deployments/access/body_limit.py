"""A body is read whole before anybody knows what it says: so no more of it than fits."""

from __future__ import annotations

from deployments.access.middleware import refuse
from deployments.asgi import ASGIApp, Message, Receive, Scope, Send

# A prompt of a million tokens is some 5 MB, and a photograph in it as much.
MAX_BODY_BYTES = 32 << 20


class BodyLimitMiddleware:
    """Answers 413 to a longer body, and reads no more of it."""

    def __init__(self, app: ASGIApp, *, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read_bytes = 0

        async def bounded() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._max_bytes:
                raise _TooLongError
            return message

        try:
            if _announced_bytes(scope) > self._max_bytes:
                raise _TooLongError
            await self._app(scope, bounded, send)
        except _TooLongError:
            message = f"The body is too long: it may have {self._max_bytes} bytes."
            await refuse(scope, send, 413, "BadRequestError", message, {})


class _TooLongError(Exception):
    """Of the body of a request."""


def _announced_bytes(scope: Scope) -> int:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0
