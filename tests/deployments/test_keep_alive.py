"""A silent stream says that it is alive, and nothing else of it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from deployments.first_byte import FirstByteMiddleware
from deployments.keep_alive import COMMENT, KeepAliveMiddleware, keep_alive

INTERVAL_S = 0.05
# Long enough for some comments on the slowest machine.
SILENCE_S = 10 * INTERVAL_S
STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]
ONE, TWO = b'data: {"choices":[1]}\n\n', b'data: {"choices":[2]}\n\n'
DONE = b"data: [DONE]\n\n"
REFUSAL = (
    "qoe_patience_s=5: no first token could come within 5 s; the engine is overloaded; "
    "try again in 7 s."
)
WRAPPED = f"Message: {REFUSAL} (Request ID: x), Internal exception: nothing"

Script = list[Any]


def start(headers: Any, status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def end() -> dict[str, Any]:
    return body(b"", more=False)


async def sent(
    script: Script,
    request: Any = None,
    middleware: tuple[Any, ...] = (),
    pieces: int = 2,
) -> list[dict[str, Any]]:
    """What a client gets of an app that says `script`: messages, silences, exceptions."""
    content = json.dumps({"stream": True} if request is None else request).encode()
    asked = _pieces(content, pieces)
    out: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        for item in script:
            if isinstance(item, float):
                await asyncio.sleep(item)
            elif isinstance(item, Exception):
                raise item
            else:
                await send(item)

    async def receive() -> Any:
        return asked.pop(0)

    async def send(message: Any) -> None:
        out.append(message)

    stack: Any = KeepAliveMiddleware(app, interval_s=INTERVAL_S)
    for layer in middleware:
        stack = layer(stack)
    scope = {"type": "http", "method": "POST", "path": "/v1/completions"}
    await stack(scope, receive, send)
    return out


def _pieces(content: bytes, number: int) -> list[dict[str, Any]]:
    size = -(-len(content) // number)
    parts = [content[i : i + size] for i in range(0, len(content), size)]
    return [
        {"type": "http.request", "body": part, "more_body": i < len(parts) - 1}
        for i, part in enumerate(parts)
    ]


def bodies(messages: list[dict[str, Any]]) -> list[bytes]:
    return [m["body"] for m in messages if m["type"] == "http.response.body"]


def without_comments(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [m for m in messages if m.get("body") != COMMENT]


async def test_comments_fill_silence_and_leave_the_events_as_they_are() -> None:
    script = [start(STREAM), body(ONE), body(TWO), body(DONE), end()]
    silent = [
        SILENCE_S,
        *script[:1],
        SILENCE_S,
        *script[1:2],
        SILENCE_S,
        *script[2:],
        SILENCE_S,
    ]
    messages = await sent(silent)
    assert without_comments(messages) == script
    said = bodies(messages)
    before, between = said[: said.index(ONE)], said[said.index(ONE) : said.index(TWO)]
    assert before.count(COMMENT) >= 2
    assert between.count(COMMENT) >= 2
    # Nothing comes after the end.
    assert said[-3:] == [TWO, DONE, b""]
    assert await sent(script) == script


async def test_a_comment_never_stands_inside_an_event() -> None:
    parts = [ONE[:9], ONE[9:]]
    said = bodies(
        await sent([start(STREAM), body(parts[0]), SILENCE_S, body(parts[1]), end()])
    )
    assert said == [*parts, b""]


@pytest.mark.parametrize(
    "request_",
    [{}, {"stream": False}, {"prompt": '"stream": true'}, {"x": {"stream": True}}],
)
async def test_an_answer_in_one_piece_gets_no_comment(request_: Any) -> None:
    script = [start(JSON), body(b"{}", more=False)]
    assert await sent([SILENCE_S, *script], request_) == script


async def test_the_status_of_an_error_is_its_own_until_a_comment_was_sent() -> None:
    script = [start(JSON, 503), body(b"{}", more=False)]
    assert await sent(script) == script


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (503, json.dumps({"error": {"message": REFUSAL, "code": 503}}), REFUSAL),
        (500, json.dumps({"error": {"message": WRAPPED, "code": 500}}), REFUSAL),
        (500, "Internal Server Error", "Internal Server Error"),
        (502, "", "Bad Gateway"),
        (499, "", "HTTP status 499"),
    ],
)
async def test_an_error_after_a_comment_is_an_event_and_the_end(
    status: int, content: str, message: str
) -> None:
    half = len(content) // 2
    parts = [body(content[:half].encode()), body(content[half:].encode(), more=False)]
    messages = await sent([SILENCE_S, start(JSON, status), *parts])
    assert messages[0]["status"] == 200
    assert dict(messages[0]["headers"]) == dict(STREAM)
    event, done, rest = bodies(messages)[-1].decode().split("\n\n")
    error = json.loads(event.removeprefix("data: "))["error"]
    assert (error["message"], error["code"]) == (message, status)
    assert (done, rest) == ("data: [DONE]", "")
    assert not messages[-1]["more_body"]


async def test_a_stream_that_fails_before_it_begins_says_so() -> None:
    out: list[Any] = []

    def kept(app: Any) -> Any:
        async def outer(scope: Any, receive: Any, send: Any) -> None:
            with pytest.raises(ValueError, match="of a test"):
                await app(scope, receive, lambda m: keep(m, send))

        async def keep(message: Any, send: Any) -> None:
            out.append(message)
            await send(message)

        return outer

    await sent([SILENCE_S, ValueError("of a test")], middleware=(kept,))
    event, done, _ = bodies(out)[-1].decode().split("\n\n")
    assert "of a test" in json.loads(event.removeprefix("data: "))["error"]["message"]
    assert done == "data: [DONE]"
    assert not out[-1]["more_body"]


async def test_who_names_a_patience_hears_a_refusal_with_its_status() -> None:
    request = {"stream": True, "vllm_xargs": {"qoe_patience_s": 5}}
    refused = json.dumps({"error": {"message": REFUSAL, "code": 503}}).encode()
    script = [start(STREAM), SILENCE_S, body(b"data: " + refused + b"\n\n"), end()]
    first, _ = await sent(script, request, (FirstByteMiddleware,))
    assert first["status"] == 503
    assert dict(first["headers"])[b"retry-after"] == b"7"
    served = [start(STREAM), SILENCE_S, body(ONE), SILENCE_S, end()]
    said = bodies(await sent(served, request, (FirstByteMiddleware,)))
    assert said[0] == ONE
    assert COMMENT in said


async def test_a_comment_releases_the_status_that_waits_for_the_first_byte() -> None:
    messages = await sent(
        [start(STREAM), SILENCE_S, body(ONE), end()], middleware=(FirstByteMiddleware,)
    )
    assert messages[0] == start(STREAM)
    assert bodies(messages)[0] == COMMENT
    assert without_comments(messages) == [start(STREAM), body(ONE), end()]


async def test_a_browser_of_another_origin_may_read_what_begins_with_a_comment() -> None:
    async def answer(request: Request) -> StreamingResponse | JSONResponse:
        await request.body()
        await asyncio.sleep(SILENCE_S)
        return StreamingResponse(events(), media_type="text/event-stream")

    async def events() -> AsyncIterator[bytes]:
        yield ONE

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    keep_alive(app, INTERVAL_S)
    app.add_middleware(FirstByteMiddleware)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        asked = await client.post(
            "/", json={"stream": True}, headers={"origin": "http://elsewhere"}
        )
    assert asked.headers["access-control-allow-origin"] == "*"
    assert asked.content.startswith(COMMENT)
    assert asked.content.endswith(ONE)


async def test_a_client_that_has_left_ends_the_comments() -> None:
    def leaving(app: Any) -> Any:
        async def outer(scope: Any, receive: Any, send: Any) -> None:
            async def gone(message: Any) -> None:
                raise OSError("the client has left")

            await app(scope, receive, gone)

        return outer

    with pytest.raises(OSError, match="has left"):
        await sent([SILENCE_S, start(STREAM), end()], middleware=(leaving,))
    tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    assert all(task.done() or task.cancelling() for task in tasks)
