"""Requests through a handle, and words of their readers, on their way to the engine."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    ErrorResponse,
)
from ray.llm._internal.serve.engines.vllm.vllm_engine import _canonicalize_request_id_header
from ray.serve.context import _RequestContext, _serve_request_context
from vllm.entrypoints.serve.engine.serving import BaseServing
from vllm.v1.engine.input_processor import InputProcessor

from deployments.feedback import engine_ids
from deployments.server import AndesServer
from qoe import Feedback
from scheduler.request_ids import serve_request_id
from telemetry.feedback import FeedbackReceiver


def chat(**more: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest(
        model="tiny", messages=[{"role": "user", "content": "hi"}], **more
    )


def completion(**more: Any) -> CompletionRequest:
    return CompletionRequest(model="tiny", prompt="hi", **more)


@pytest.mark.parametrize("make", [chat, completion])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fields", [{"vllm_xargs": {"qoe_tds": float("nan")}}, {"qoe_tds": 4.8}]
)
async def test_a_bad_field_through_a_handle_is_refused_before_the_engine(
    server: AndesServer, make: Any, stream: bool, fields: dict[str, Any]
) -> None:
    method = server.chat if make is chat else server.completions
    answers = [a async for a in await method(make(stream=stream, **fields))]
    (answer,) = answers
    assert isinstance(answer, ErrorResponse)
    assert (answer.error.code, answer.error.param) == (400, "qoe_tds")
    assert server.engine.asked == []


@pytest.mark.parametrize("make", [chat, completion])
async def test_a_good_request_through_a_handle_reaches_the_engine(
    server: AndesServer, make: Any
) -> None:
    method = server.chat if make is chat else server.completions
    request = make(vllm_xargs={"qoe_tds": 4.8})
    assert [a async for a in await method(request)] == ["an answer"]
    assert server.engine.asked == [request]


@pytest.mark.parametrize(
    ("make", "name"), [(chat, "chatcmpl-{}"), (completion, "cmpl-{}-0")]
)
async def test_serves_request_id_is_found_again_in_the_engine_behind_a_handle(
    server: AndesServer, make: Any, name: str
) -> None:
    """Serve LLM's and vLLM's own code, but for the name, which is pinned elsewhere."""
    token = _serve_request_context.set(_RequestContext(request_id="serves-own-id"))
    method = server.chat if make is chat else server.completions
    assert [a async for a in await method(make())] == ["an answer"]
    _serve_request_context.reset(token)
    info = _canonicalize_request_id_header(server.engine.asked[0], None)
    http = info.to_starlette_request() if info else None
    wrapped = name.format(BaseServing._base_request_id(http, None))
    in_engine = SimpleNamespace(request_id=wrapped, external_req_id=None)
    InputProcessor.assign_request_id(in_engine)
    assert serve_request_id(in_engine.request_id) == "serves-own-id"


@pytest.mark.parametrize(
    ("make", "shown", "given"),
    [(chat, "chatcmpl-{}", "{}"), (completion, "cmpl-{}", "{}-0")],
)
async def test_what_a_client_says_reaches_whichever_attempt_goes_on_with_its_answer(
    server: AndesServer, make: Any, shown: str, given: str
) -> None:
    """An ingress asks again under the id that Serve gave the request at first."""
    serves_id = "5f0c2d3a-1111-4222-8333-444455556666"
    live: dict[str, list[str]] = {}
    for _ in ("first", "continuation"):
        token = _serve_request_context.set(_RequestContext(request_id=serves_id))
        method = server.chat if make is chat else server.completions
        assert [a async for a in await method(make())] == ["an answer"]
        _serve_request_context.reset(token)
        info = _canonicalize_request_id_header(server.engine.asked[-1], None)
        name = BaseServing._base_request_id(info.to_starlette_request(), None)
        external = given.format(shown.format(name))
        in_engine = SimpleNamespace(request_id=external, external_req_id=None)
        InputProcessor.assign_request_id(in_engine)
        live.setdefault(external, []).append(in_engine.request_id)
    both = engine_ids(shown.format(serves_id), live)
    assert len(set(both)) == 2
    assert all(serves_id in engine_id for engine_id in both)


async def test_the_engine_is_told_where_to_listen_for_readers(server: AndesServer) -> None:
    said = Feedback(paused=True)
    assert not await server.on_feedback("chatcmpl-x", said), "it has no such stream"
    server.engine.ids_of = lambda request_id: [f"{request_id}-in-the-engine"]
    with FeedbackReceiver(server.engine.listens_at) as engine:
        told: list[tuple[str, Feedback]] = []
        for _ in range(1000):
            await server.on_feedback("chatcmpl-x", said)
            if told := engine.take():
                break
            await asyncio.sleep(0.01)
        assert told[0] == ("chatcmpl-x-in-the-engine", said)
