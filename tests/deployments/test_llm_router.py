"""The router of the direct path answers whatever the body: real app, a scripted pick."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from ray.llm._internal.serve.core.ingress import builder, router

from deployments.llm_router import LLMRouter, UnreadBodies, serve_router

DEEP = [b"[" * 20_000, b'{"a":' * 20_000, b'{"prompt": "x", "b": ' + b"[" * 20_000]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()

    @app.post("/internal/route")
    async def route(request: Request) -> dict[str, Any]:
        # What Serve LLM's endpoint does first.
        parsed = router._parse_request_body(await request.body())
        return {"replica_id": "r", "saw": parsed}

    app.add_middleware(UnreadBodies)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://router") as client:
        yield client


@pytest.mark.parametrize("body", DEEP, ids=range(len(DEEP)))
async def test_a_body_that_nobody_can_read_is_placed_all_the_same(
    client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post("/internal/route", content=body)
    assert answer.status_code == 200
    assert answer.json() == {"replica_id": "r", "saw": None}


async def test_every_other_body_is_read_as_it_came(client: httpx.AsyncClient) -> None:
    body = {"prompt": "[" * 5000, "vllm_xargs": {"qoe_tds": 4.8}}
    answer = await client.post("/internal/route", content=json.dumps(body))
    assert answer.json()["saw"] == body


def test_serve_llm_builds_its_direct_path_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "LLMRouter", router.LLMRouter)
    made: list[Any] = []

    class StopError(Exception):
        pass

    def deployment(cls: Any, **_: Any) -> Any:
        made.append(cls)
        raise StopError

    monkeypatch.setattr(builder.serve, "deployment", deployment)
    serve_router()
    monkeypatch.setattr(builder, "is_kv_aware", lambda _: False)
    config = type("Config", (), {"lora_config": None})()
    with pytest.raises(StopError):
        builder._build_openai_ingress_request_router(server=None, llm_config=config)
    assert made == [LLMRouter]
