"""What ends at a replica leaves the router's ledger, also if no engine ever had it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from deployments.server import AndesServer
from router.chooser import Chooser
from router.settings import RouterSettings
from router.stream import Stream
from telemetry.broadcast import ReportListener
from telemetry.report import request_key
from telemetry.routing_stats import endpoint_of

GOOD = {"prompt": "hi"}
BAD = {"prompt": "hi", "vllm_xargs": {"qoe_tds": "fast"}}


def slow_app() -> FastAPI:
    """Of an engine that has taken nothing yet, and of one endpoint that needs none."""
    app = FastAPI()

    @app.post("/v1/completions")
    async def whole(body: dict[str, Any]) -> str:
        await asyncio.sleep(3600)
        return "an answer"

    @app.post("/v1/chat/completions")
    async def stream(body: dict[str, Any]) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            await asyncio.sleep(3600)
            yield "data: {}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.post("/tokenize")
    async def tokenize(body: dict[str, Any]) -> list[int]:
        return [1, 2]

    return app


class DirectPath:
    """A router that gets a replica's reports, and requests that HAProxy brings there.

    Its ledger forgets nothing by time.
    """

    def __init__(self, app: Any, listener: ReportListener) -> None:
        self._app = app
        self._listener = listener
        self.chooser = Chooser(RouterSettings(ledger_ttl_s=3600.0))

    async def ask(self, name: str, path: str, body: dict[str, Any]) -> asyncio.Task[None]:
        """A request that was placed, and that the replica has begun with."""
        stream = Stream(name, 0, body, request_key=request_key(name))
        self.chooser.choose([("replica", None)], stream)
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [
                (b"content-type", b"application/json"),
                (b"x-request-id", name.encode()),
            ],
        }
        content = json.dumps(body).encode()
        messages = iter([{"type": "http.request", "body": content, "more_body": False}])

        async def receive() -> Any:
            if (message := next(messages, None)) is None:
                await asyncio.sleep(3600)
            return message

        async def send(message: Any) -> None:
            pass

        request = asyncio.create_task(self._app(scope, receive, send))
        await asyncio.sleep(0.2)
        return request

    async def until_left(self, number: int) -> None:
        async with asyncio.timeout(10.0):
            while not self.take_reports() or len(self.chooser.ledger) != number:  # noqa: ASYNC110 - a socket tells
                await asyncio.sleep(0.01)

    def take_reports(self) -> bool:
        news = self._listener.poll()
        for replica, report in news:
            self.chooser.on_report(replica, report)
        return bool(news)


@pytest.fixture
async def direct(server: AndesServer) -> AsyncIterator[DirectPath]:
    async def build_asgi_app() -> FastAPI:
        return slow_app()

    server.engine.build_asgi_app = build_asgi_app  # type: ignore[union-attr]
    with ReportListener() as listener:
        endpoint = endpoint_of(await server.record_routing_stats())
        assert endpoint is not None
        listener.connect("replica", endpoint)
        direct = DirectPath(await server.__serve_build_asgi_app__(), listener)
        await direct.until_left(0)
        yield direct


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", GOOD),
        ("/v1/chat/completions", GOOD),
        ("/v1/completions", BAD),
        ("/tokenize", GOOD),
    ],
    ids=["whole", "stream", "refused", "no engine's"],
)
async def test_a_request_that_is_over_counts_as_sent_no_longer(
    direct: DirectPath, path: str, body: dict[str, Any]
) -> None:
    stays = await direct.ask("stays", "/v1/completions", GOOD)
    request = await direct.ask("over", path, body)
    if not request.done():
        await direct.until_left(2)
        # Serve does so when a client has left.
        request.cancel()
    await asyncio.wait([request])
    await direct.until_left(1)
    stays.cancel()
    await asyncio.wait([stays])
    await direct.until_left(0)
