"""QoE fields on a vLLM server without a deployment."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deployments.plain_vllm import PlainVLLMMiddleware


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def asked(body: bytes) -> httpx.Response:
    app = Starlette(routes=[Route("/v1/completions", echo, methods=["POST"])])
    # As vLLM adds it: it gives a middleware the app, and nothing else.
    app.add_middleware(PlainVLLMMiddleware)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://vllm") as client:
        headers = {"content-type": "application/json"}
        return await client.post("/v1/completions", content=body, headers=headers)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"qoe_tds": "fast"}, "qoe_tds='fast' is invalid"),
        ({"qoe_resume_token_ids": [7, 8]}, "qoe_resume_token_ids with 2 tokens is refused"),
        ({"qoe_tds": 7}, None),
        ({"theirs": 1}, None),
    ],
    ids=str,
)
async def test_a_plain_vllm_server_goes_on_with_no_answer(
    fields: dict[str, Any], said: str | None
) -> None:
    body = json.dumps({"prompt": "hi", "stream": True, "vllm_xargs": fields}).encode()
    answer = await asked(body)
    assert answer.status_code == (400 if said else 200)
    if said:
        assert answer.json()["error"]["message"].startswith(said)
    else:
        assert answer.content == body
