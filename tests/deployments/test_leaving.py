"""Who leaves takes all work with it: a real server, vLLM's handlers, Serve's cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy
from vllm.entrypoints.serve.utils.api_utils import with_cancellation

from deployments.access.guard import AccessSettings, guard
from deployments.first_byte import FirstByteMiddleware
from deployments.leaving import LeavingMiddleware
from qoe import PROFILES
from tests.leaving import KINDS, WAYS, ask, leave, request_of

CLIENTS, CROWD = 20, 40
# 3,072 tokens: of a crowd four run, some are preempted, and the others wait.
SCARCE = {"num_gpu_blocks_override": 25, "max_num_seqs": 4}
PROMPT, TOKENS = "x" * 500, 1400


class Work:
    """What an engine would be doing."""

    def __init__(self) -> None:
        self.begun = 0
        self.running = 0

    @asynccontextmanager
    async def done(self) -> AsyncIterator[None]:
        self.begun += 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


def app_of(work: Work) -> Any:
    """Endpoints as vLLM makes them, under the middlewares of a replica."""
    app = FastAPI()

    @app.post("/whole")
    @with_cancellation
    async def whole(body: dict[str, Any], raw_request: Request) -> str:
        async with work.done():
            await asyncio.sleep(3600)
        return "an answer"

    @app.post("/stream")
    @with_cancellation
    async def stream(body: dict[str, Any], raw_request: Request) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            async with work.done():
                while True:
                    yield "data: {}\n\n"
                    await asyncio.sleep(0.01)

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.post("/deaf")
    async def deaf(body: dict[str, Any]) -> str:
        async with work.done():
            await asyncio.sleep(3600)
        return "an answer"

    app.add_middleware(FirstByteMiddleware)
    guard(app, AccessSettings(), PROFILES["reading"].expectation)
    app.add_middleware(LeavingMiddleware, grace_s=0.2)  # type: ignore[arg-type]
    return app


def cancelled_as_serve_does(app: Any, timeout_s: float | None = None) -> Any:
    """What `Replica._direct_ingress_asgi` of Ray Serve does when a client leaves."""

    async def replica(scope: Any, receive: Any, send: Any) -> None:
        told = ASGIDIReceiveProxy(scope, receive, asyncio.get_running_loop())
        leaves = told.fetch_until_disconnect_task()
        answer = asyncio.create_task(app(scope, told, send))
        await asyncio.wait(
            [answer, leaves], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        leaves.cancel()
        answer.cancel()

    return replica


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The address of a server of `app`."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        (listening,) = server.servers
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - clients tell, not tasks
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["whole", "stream", "deaf"])
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_works_for_a_client_that_has_left(path: str, way: str) -> None:
    work = Work()
    async with served(cancelled_as_serve_does(app_of(work))) as url:
        clients = [ask(f"{url}/{path}", way, {}) for _ in range(CLIENTS)]
        await until(lambda: work.running == CLIENTS)
        for client in clients:
            leave(client, way)
        await until(lambda: work.running == 0)
        assert work.begun == CLIENTS
        for client in clients:
            client.close()


@pytest.mark.parametrize("path", ["whole", "stream", "deaf"])
async def test_nothing_works_for_a_request_that_serve_gave_up(path: str) -> None:
    work = Work()
    async with served(cancelled_as_serve_does(app_of(work), timeout_s=0.5)) as url:
        clients = [ask(f"{url}/{path}", "close", {}) for _ in range(CLIENTS)]
        await until(lambda: work.begun == CLIENTS and work.running == 0)
        for client in clients:
            client.close()


async def test_a_client_that_stays_makes_no_difference() -> None:
    messages = [{"type": "http.request", "body": b"a", "more_body": True}]
    messages += [{"type": "http.request", "body": b"b"}, {"type": "http.disconnect"}]
    told, heard, sent = iter(messages), [], []

    async def receive() -> Any:
        return next(told)

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            heard.append(await receive())
            await send(message)

    await LeavingMiddleware(app)({"type": "http"}, receive, send)
    assert heard == sent == messages


async def test_what_an_app_raises_is_raised() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await LeavingMiddleware(app)({"type": "http"}, None, None)  # type: ignore[arg-type]


async def begun(grace_s: float) -> tuple[asyncio.Task[None], list[str]]:
    """A request to an app that does not listen, and what the app says when it ends."""
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said.append("begun")
        try:
            await asyncio.sleep(3600)
        finally:
            said.append("ended")

    middleware = LeavingMiddleware(app, grace_s)
    request = asyncio.create_task(
        middleware({"type": "http"}, asyncio.Event().wait, None)  # type: ignore[arg-type]
    )
    await until(lambda: said == ["begun"])
    return request, said


async def test_a_request_is_over_when_its_app_is() -> None:
    """Serve counts it until then, and lets nobody else in."""
    request, said = await begun(grace_s=0.1)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert said == ["begun", "ended"]


async def test_a_request_that_is_cancelled_twice_is_not_waited_for() -> None:
    request, said = await begun(grace_s=3600.0)
    for _ in range(2):
        request.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await request
    await until(lambda: said == ["begun", "ended"])


@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("llm", [SCARCE], indirect=True, ids=["scarce"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_engine_forgets_who_has_left(
    llm: Any, replica_engine: Any, kind: str, stream: bool
) -> None:
    path, body = request_of(kind, PROMPT, TOKENS)
    body |= {"model": "tiny", "stream": stream}
    asked = CROWD * body.get("n", 1)
    # One for each answer, whether it waits, is written or has lost its memory.
    live = llm.output_processor.request_states
    app = LeavingMiddleware(await replica_engine.build_asgi_app())
    async with served(cancelled_as_serve_does(app)) as url:
        ways = [WAYS[at % len(WAYS)] for at in range(CROWD)]
        clients = [(ask(f"{url}/v1/{path}", way, body), way) for way in ways]
        await until(lambda: len(live) == asked, timeout_s=60.0)
        for client, way in clients:
            leave(client, way)
        # An engine that goes on with half of them takes longer.
        await until(lambda: not live)
        for client, _ in clients:
            client.close()
