"""Comments in a silent stream: its client knows that it is served, and stays.

Clients and proxies give up on a connection without a byte, often after five seconds, though
its stream would be served. Server-sent events have comments, which no client shows.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.client import responses
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from deployments.asgi import ASGIApp, Message, Receive, Scope, Send
from deployments.first_byte import CLIENT_ERROR, is_event_stream, unwrapped
from deployments.middleware import FIELDS_KEY
from deployments.relay import DATA, DONE, error_event, error_of, written
from qoe.fields import PATIENCE_FIELD

logger = logging.getLogger(__name__)

COMMENT, EVENT_END = b": keep-alive\n\n", b"\n\n"
# Most bodies need not be parsed to see that they ask for no stream.
_MAY_ASK = re.compile(rb'"stream"\s*:\s*true')


def keep_alive(app: Any, interval_s: float | None) -> None:
    """Have a Starlette app whose stack is not built yet send comments.

    The first comment brings the status and the headers with it, so it must pass what adds
    headers for browsers.

    Args:
        app: The app.
        interval_s: How long a stream may be silent; None for as long as it is.
    """
    if interval_s is None:
        return
    outside_first = [middleware.cls for middleware in app.user_middleware]
    at = outside_first.index(CORSMiddleware) + 1 if CORSMiddleware in outside_first else 0
    app.user_middleware.insert(at, Middleware(KeepAliveMiddleware, interval_s=interval_s))


class KeepAliveMiddleware:
    """Sends a comment whenever a stream has been silent for some time.

    Invariants:
        A client of a stream is never without a byte for longer, from its request on; one
            that named its patience, from its first event on: it is refused by then, with
            the status of a refusal.
        A comment stands between two events. Events stay as they are, and in their order.
        Once a comment was sent the status is 200: an error that the app finds then is an
            event, and the end of the stream.
        What is no stream goes through as it comes.

    Args:
        app: What answers.
        interval_s: How long a stream may be silent.
    """

    def __init__(self, app: ASGIApp, *, interval_s: float) -> None:
        self._app = app
        self._interval_s = interval_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        answer = _Answer(receive, send, self._interval_s)
        try:
            await self._app(scope, answer.receive, answer.send)
        except Exception as error:
            await answer.break_off(error)
            raise
        finally:
            answer.close()


class _Answer:
    """One answer, and the task that breaks its silence."""

    def __init__(self, receive: Receive, send: Send, interval_s: float) -> None:
        self._receive = receive
        self._send = send
        self._interval_s = interval_s
        self._asked: bytearray | None = bytearray()
        # The task and the app send in turns.
        self._lock = asyncio.Lock()
        self._sent_at_s = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        # Whose status the client has.
        self._app_started = self._we_started = False
        self._is_between_events = True
        # Whether a comment may come before the app's first event.
        self._may_begin = True
        # What is no stream, and came after the status of one.
        self._late: bytearray | None = None
        self._late_status: int = HTTPStatus.OK

    async def receive(self) -> Message:
        message = await self._receive()
        if self._asked is not None and message["type"] == "http.request":
            self._asked += message.get("body", b"")
            if not message.get("more_body"):
                self._read(_request_of(self._asked))
                self._asked = None
        return message

    def _read(self, request: dict[str, Any]) -> None:
        fields = request.get(FIELDS_KEY)
        self._may_begin = not (isinstance(fields, dict) and PATIENCE_FIELD in fields)
        if request.get("stream") is True:
            self._watch()

    async def send(self, message: Message) -> None:
        async with self._lock:
            for told in self._told(message):
                await self._send(told)
            self._sent_at_s = time.monotonic()

    async def break_off(self, error: Exception) -> None:
        """End a stream that the app has not begun; it ends its own ones."""
        self.close()
        if self._we_started and not self._app_started:
            event = error_event(f"The stream failed before it began: {error!r}.") + DONE
            await self._send(_body(event.encode(), more=False))

    def close(self) -> None:
        """Send no more comments."""
        if self._task is not None:
            self._task.cancel()

    def _watch(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._break_silence())

    def _told(self, message: Message) -> Iterator[Message]:
        """What the client is told of a message of the app."""
        if message["type"] == "http.response.start":
            yield from self._start(message)
            return
        content, is_last = message.get("body", b""), not message.get("more_body")
        if is_last:
            self.close()
        if self._late is None:
            if content:
                self._is_between_events = content.endswith(EVENT_END)
                self._may_begin = True
            yield message
            return
        self._late += content
        if is_last:
            yield _body(_late_event(self._late_status, self._late), more=False)

    def _start(self, message: Message) -> Iterator[Message]:
        self._app_started = True
        is_stream = is_event_stream(message)
        if not self._we_started:
            self._watch() if is_stream else self.close()
            yield message
        elif not is_stream:
            self.close()
            self._late, self._late_status = bytearray(), message["status"]

    async def _break_silence(self) -> None:
        try:
            await self._comment_when_due()
        except Exception as error:
            # The client has left, which the app learns in its own way.
            logger.debug("A stream gets no more comments: %r", error)

    async def _comment_when_due(self) -> None:
        while True:
            due_at_s = self._sent_at_s + self._interval_s
            await asyncio.sleep(due_at_s - time.monotonic())
            async with self._lock:
                if time.monotonic() - self._sent_at_s < self._interval_s:
                    continue
                self._sent_at_s = time.monotonic()
                if self._is_between_events and self._may_begin:
                    await self._comment()

    async def _comment(self) -> None:
        if not self._app_started and not self._we_started:
            self._we_started = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await self._send(
                {
                    "type": "http.response.start",
                    "status": HTTPStatus.OK.value,
                    "headers": headers,
                }
            )
        await self._send(_body(COMMENT, more=True))


def _request_of(body: bytearray) -> dict[str, Any]:
    """The request in `body` if it may be one for a stream, else an empty one."""
    if not _MAY_ASK.search(body):
        return {}
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def _late_event(status: int, body: bytearray) -> bytes:
    """An answer that has become the last event of a stream."""
    text = body.decode(errors="replace")
    error = error_of(text)
    if error is None and status >= CLIENT_ERROR:
        error = {"message": text or _phrase(status), "type": "Error"}
    if error is not None:
        error |= {"message": unwrapped(error.get("message")), "code": status}
        text = written({"error": error})
    return f"{DATA}{text}\n\n{DONE}".encode()


def _phrase(status: int) -> str:
    # Servers have statuses of their own, such as 499.
    return responses.get(status, f"HTTP status {status}")


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}
