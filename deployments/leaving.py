"""A client that leaves takes what it asked for with it: on each endpoint, and both paths.

A replica: Serve cancels the task of a request whose client has left. vLLM does its work in
a task beside that one, and ends it only when it receives `http.disconnect`: cancelled
before that, it writes an answer that is not streamed to its end, for nobody.

The ingress of the handle path: what receives `http.disconnect` ends well, and then Serve
has nothing left to cancel. A call to a replica that nobody reads goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from deployments.asgi import ASGIApp, Message, Receive, Scope, Send

# Whoever receives it at all is done within some turns of the event loop.
GRACE_S = 1.0
REQUEST_ID = b"x-request-id"


class LeavingMiddleware:
    """Tells an app that its client has left, and only then lets it be cancelled.

    Invariants:
        An app that is cancelled has received `http.disconnect`, or had `grace_s` for it.
        It ends before the cancelled request does: Serve counts it until then.
        A client that stays makes no difference.

    Args:
        app: What answers.
        grace_s: How long an app that does not listen may go on.
    """

    def __init__(self, app: ASGIApp, grace_s: float = GRACE_S) -> None:
        self._app = app
        self._grace_s = grace_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watched = _Watched(receive)
        answer = asyncio.ensure_future(self._app(scope, watched, send))
        try:
            await asyncio.shield(answer)
        except asyncio.CancelledError:
            watched.has_left.set()
            await self._end(answer)
            raise

    async def _end(self, answer: asyncio.Future[None]) -> None:
        try:
            await asyncio.wait([answer], timeout=self._grace_s)
        finally:
            answer.cancel()
        # Nobody is left to be told what went wrong.
        await asyncio.gather(answer, return_exceptions=True)


class _Watched:
    """`receive`, until the client has left."""

    def __init__(self, receive: Receive) -> None:
        self.has_left = asyncio.Event()
        self._receive = receive

    async def __call__(self) -> Message:
        said = asyncio.ensure_future(self._receive())
        left = asyncio.ensure_future(self.has_left.wait())
        try:
            await asyncio.wait([said, left], return_when=asyncio.FIRST_COMPLETED)
            return said.result() if said.done() else {"type": "http.disconnect"}
        finally:
            said.cancel()
            left.cancel()


class EndingMiddleware:
    """Says which request is over, however it ends.

    Routers count what they sent until the engine names it, and it may never come there.

    Args:
        app: What answers.
        ended: Called with the id that routers know the request by.
    """

    def __init__(self, app: ASGIApp, ended: Callable[[str], None]) -> None:
        self._app = app
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            # No other method is asked for an answer of the engine.
            if scope["type"] == "http" and scope["method"] == "POST":
                for name, value in scope["headers"]:
                    if name == REQUEST_ID:
                        self._ended(value.decode("latin-1"))


class TiedHandle:
    """A Serve handle whose calls end when nobody reads them any more.

    Args:
        handle: Of a deployment, for streams.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def options(self, **options: Any) -> TiedHandle:
        """The same with other options."""
        return TiedHandle(self._handle.options(**options))

    def __getattr__(self, method: str) -> _TiedMethod:
        return _TiedMethod(getattr(self._handle, method))


class _TiedMethod:
    def __init__(self, method: Any) -> None:
        self._method = method

    def remote(self, *args: Any) -> AsyncIterator[Any]:
        return _read(self._method.remote(*args))


async def _read(answer: Any) -> AsyncIterator[Any]:
    try:
        async for item in answer:
            yield item
    except (asyncio.CancelledError, GeneratorExit):
        answer.cancel()
        raise
