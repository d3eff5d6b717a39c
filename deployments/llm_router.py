"""Serve LLM's request router of the direct path, which no body stops from answering.

What it cannot read is placed by load alone, and gets its answer from the replica: of any
other answer of the router, HAProxy would make a 503, which clients take for "try again".
"""

from __future__ import annotations

from typing import Any

from ray.llm._internal.serve.core.ingress import router
from ray.llm._internal.serve.core.ingress.router import LLMRouter as ServeLLMRouter

from deployments.asgi import ASGIApp, Receive, Scope, Send, read_all, replay
from deployments.json_bodies import nests_too_deep
from deployments.replica_port import listen_at_node_address


class LLMRouter(ServeLLMRouter):
    """As Serve LLM's; its name is that of the deployment."""

    def _set_asgi_app(self, app: Any) -> None:
        # Serve has made the app of this replica, and has not started it.
        app.add_middleware(UnreadBodies)
        listen_at_node_address()
        super()._set_asgi_app(app)


class UnreadBodies:
    """Hides from an app what nests too deep: it gets an empty body instead."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            messages = await read_all(receive)
            if nests_too_deep(b"".join(m.get("body", b"") for m in messages)):
                messages = [{"type": "http.request", "body": b"", "more_body": False}]
            receive = replay(messages, receive)
        await self._app(scope, receive, send)


def serve_router() -> None:
    """Have Serve LLM build its direct path with this router; it takes no class for it."""
    router.LLMRouter = LLMRouter
