"""A small real SSE server: it answers completion requests on a schedule that tests know."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web

Answer = Callable[["Peer", web.StreamResponse, dict], Awaitable[None]]


def chunk(*, text: str = "x", tokens: int | None = None, finish: str | None = None) -> dict:
    """A completion chunk; `tokens` is the running total that vLLM's usage carries."""
    event: dict = {"choices": [{"index": 0, "text": text, "finish_reason": finish}]}
    if tokens is not None:
        event["usage"] = {"prompt_tokens": 1, "completion_tokens": tokens}
    return event


def steady(
    *, period_s: float, first_s: float = 0.0, chunk_tokens: int = 1, usage: bool = True
) -> Answer:
    """`max_tokens` tokens: a chunk after `first_s`, then one every `period_s`."""

    async def answer(peer: Peer, response: web.StreamResponse, body: dict) -> None:
        await asyncio.sleep(first_s)
        total = body["max_tokens"]
        for sent in range(chunk_tokens, total + chunk_tokens, chunk_tokens):
            tokens = min(sent, total)
            finish = "length" if tokens == total else None
            event = chunk(tokens=tokens if usage else None, finish=finish)
            await peer.send(response, event)
            await asyncio.sleep(period_s)
        if usage:
            usage_only = {"choices": [], "usage": {"completion_tokens": total}}
            await peer.send(response, usage_only)
        await peer.send(response, "[DONE]")

    return answer


def events(*sent: dict | str) -> Answer:
    """Exactly these events, then a clean end of the HTTP response."""

    async def answer(peer: Peer, response: web.StreamResponse, _: dict) -> None:
        for event in sent:
            await peer.send(response, event)

    return answer


class Peer:
    """An OpenAI-compatible endpoint in a thread of its own, on a free port.

    Attributes:
        answer: What it does with a completion request, after the headers are out.
        refuse: (status, JSON body) to answer instead, or None.
        models: What GET /v1/models lists.
        bodies: Every completion request, in order.
        received_at_s: When each came, on `time.perf_counter`.
        clients: Address and port that each came from.
        authorizations: The header of that name of everything asked, None where missing.
        sent_at_s: When each call of `send_tokens` wrote its bytes, on the same clock.
    """

    # Test modules cannot import from a conftest; they reach these through the fixture.
    chunk = staticmethod(chunk)
    events = staticmethod(events)
    steady = staticmethod(steady)

    def __init__(self) -> None:
        self.answer: Answer = steady(period_s=0.0)
        self.refuse: tuple[int, dict] | None = None
        self.models: list[dict] = [{"id": "tiny", "max_model_len": 2048}]
        self.bodies: list[dict] = []
        self.received_at_s: list[float] = []
        self.clients: list[tuple[str, int]] = []
        self.authorizations: list[str | None] = []
        self.sent_at_s: list[float] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def send(self, response: web.StreamResponse, event: dict | str) -> None:
        text = event if isinstance(event, str) else json.dumps(event)
        self.sent_at_s.append(time.perf_counter())
        await response.write(f"data: {text}\n\n".encode())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def _list_models(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization"))
        return web.json_response({"object": "list", "data": self.models})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.received_at_s.append(time.perf_counter())
        self.clients.append(request.transport.get_extra_info("peername"))
        self.authorizations.append(request.headers.get("Authorization"))
        self.bodies.append(await request.json())
        if self.refuse is not None:
            status, body = self.refuse
            return web.json_response(body, status=status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self.answer(self, response, self.bodies[-1])
        return response


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def closed_url() -> str:
    """An address where nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
