"""The replica's own app, vLLM's with ours around it: a stream that waits is not silent."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.openai.api_server import build_app
from vllm.utils.argparse_utils import FlexibleArgumentParser

from deployments.server import KEEP_ALIVE_KEY, AndesServer

INTERVAL_S, SILENCE_S = 0.05, 0.5
TOKEN, DONE = 'data: {"choices":[]}\n\n', "data: [DONE]\n\n"
DEAD = 'data: {"error":{"message":"EngineCore encountered an issue.","code":500}}\n\n'
STREAM: dict[str, Any] = {"model": "tiny", "stream": True}
REQUESTS = {
    "completions": STREAM | {"prompt": "hi"},
    "chat/completions": STREAM | {"messages": [{"role": "user", "content": "hi"}]},
    "responses": STREAM | {"input": "hi"},
    "messages": STREAM | {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
}


class Event(str):
    """An event, as a text and as the model that vLLM's responses are made of."""

    type = "response.created"

    def model_dump_json(self, **_: Any) -> str:
        return "{}"


class Slow:
    """In the place of all that vLLM answers with: silent, then `event`, and over."""

    def __init__(self, event: str) -> None:
        self._event = event

    async def answer(self, *_: Any, **__: Any) -> AsyncIterator[str]:
        return self._events()

    create_completion = create_chat_completion = answer
    create_responses = create_messages = answer

    async def _events(self) -> AsyncIterator[str]:
        await asyncio.sleep(SILENCE_S)
        yield Event(self._event)
        yield Event(DONE)


async def asked(
    server: AndesServer,
    path: str,
    event: str = TOKEN,
    interval_s: float | None = INTERVAL_S,
) -> httpx.Response:
    async def build_asgi_app() -> Any:
        app = build_app(
            make_arg_parser(FlexibleArgumentParser()).parse_args([]), ("generate",)
        )
        for name in ("completion", "chat", "responses"):
            setattr(app.state, f"openai_serving_{name}", Slow(event))
        app.state.anthropic_serving_messages = Slow(event)
        app.state.server = types.SimpleNamespace()
        app.state.enable_server_load_tracking = False
        return app

    engine: Any = server.engine
    engine.build_asgi_app = build_asgi_app
    server._llm_config.experimental_configs[KEEP_ALIVE_KEY] = interval_s
    transport = httpx.ASGITransport(await server.__serve_build_asgi_app__())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        headers = {"origin": "http://elsewhere"}
        return await client.post(f"/v1/{path}", json=REQUESTS[path], headers=headers)


@pytest.mark.parametrize("path", REQUESTS)
async def test_every_endpoint_that_streams_has_comments(
    server: AndesServer, path: str
) -> None:
    response = await asked(server, path)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    comments, _, events = response.text.rpartition(": keep-alive\n\n")
    assert comments.count(": keep-alive") >= 2
    assert "data: " in events


async def test_an_error_before_a_comment_has_another_replica_asked(
    server: AndesServer,
) -> None:
    response = await asked(server, "completions", DEAD, interval_s=None)
    assert response.status_code == 502


async def test_an_error_after_a_comment_is_an_event(server: AndesServer) -> None:
    response = await asked(server, "completions", DEAD)
    assert response.status_code == 200
    *_, event, done, _ = response.text.split("\n\n")
    assert json.loads(event.removeprefix("data: "))["error"]["code"] == 500
    assert done == DONE.strip()
