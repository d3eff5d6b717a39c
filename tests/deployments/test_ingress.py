"""The ingress outlives the replicas it asks: scripted replicas, the real ingress."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from ray.exceptions import RayActorError
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    CompletionResponse,
    ErrorInfo,
    ErrorResponse,
)
from ray.llm._internal.serve.core.ingress.ingress import OpenAiIngress, init
from vllm.v1.engine.exceptions import EngineDeadError

from deployments import ingress as module
from deployments.access.guard import AccessSettings
from deployments.ingress import ResumingIngress
from deployments.relay import BrokenOffError
from qoe import PROFILES

DONE = "data: [DONE]\n\n"
REFUSAL = "qoe_patience_s=5: the engine is overloaded; try again in 7 s."
DEAD = 'data: {"error":{"message":"EngineCore encountered an issue.","code":500}}\n\n'


def token(number: int, reason: str | None = None) -> str:
    choice = {"index": 0, "text": chr(97 + number), "finish_reason": reason}
    choice |= {"token_ids": [number]}
    return f"data: {json.dumps({'id': 'x', 'created': 1, 'choices': [choice]})}\n\n"


class Call:
    """What a replica answers: plays a script, an exception raises."""

    def __init__(self, script: list[Any]) -> None:
        self.cancelled = asyncio.Event()
        self._script = iter(script)

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> Any:
        for item in self._script:
            if isinstance(item, float):
                await asyncio.sleep(item)
            elif isinstance(item, Exception):
                raise item
            else:
                return [item] if isinstance(item, str) else item
        raise StopAsyncIteration

    def cancel(self) -> None:
        self.cancelled.set()


class Replicas:
    """Stands in for a handle: each attempt plays the next script."""

    def __init__(self, *scripts: list[Any]) -> None:
        self.asked: list[Any] = []
        self.calls: list[Call] = []
        self._scripts = iter(scripts)
        self.chat = self.completions = self

    def options(self, **_: Any) -> Replicas:
        return self

    def remote(self, body: Any, info: Any) -> Call:
        self.asked.append(body)
        self.calls.append(Call(next(self._scripts)))
        return self.calls[-1]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_DELAY_S", 0.0)


def ingress_of(replicas: Replicas, limit: int = 3, **more: Any) -> ResumingIngress:
    return ResumingIngress(
        llm_deployments={"tiny": replicas},  # type: ignore[dict-item]
        model_cards={"tiny": object()},  # type: ignore[dict-item]
        max_continuations=limit,
        resume_timeout_s=0.1,
        default_expectation=PROFILES["reading"].expectation,
        access=AccessSettings(),
        **more,
    )


def items(
    replicas: Replicas, method: str = "completions", limit: int = 3, **more: Any
) -> AsyncGenerator[Any, None]:
    ingress = ingress_of(replicas, limit)
    request: dict[str, Any] = {"model": "tiny", "stream": True, **more}
    if method == "chat":
        messages = [{"role": "user", "content": "hi"}]
        body: Any = ChatCompletionRequest(messages=messages, **request)
    else:
        body = CompletionRequest(prompt="hi", **request)
    return ingress._get_response(body=body, call_method=method)


async def answer(replicas: Replicas, *args: Any, **more: Any) -> list[Any]:
    told: list[Any] = []
    async for item in items(replicas, *args, **more):
        told += item if isinstance(item, list) else [item]
    return told


def text_of(told: list[Any]) -> str:
    events = "".join(told).split("\n\n")
    chunks = [json.loads(e[6:]) for e in events if e and e != "data: [DONE]"]
    return "".join(c["text"] for chunk in chunks for c in chunk.get("choices", ()))


def error_in(told: list[Any]) -> str:
    events = "".join(told).split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    message: str = json.loads(events[-3][6:])["error"]["message"]
    return message


@pytest.mark.parametrize("end", [RayActorError(), EngineDeadError(), DEAD])
async def test_a_stream_goes_on_with_the_tokens_it_has(end: Any) -> None:
    replicas = Replicas(
        [token(0), token(1), end], [token(2), end], [token(3, "length"), DONE]
    )
    told = await answer(replicas, vllm_xargs={"qoe_tds": 3.0})
    assert text_of(told) == "abcd"
    assert told[-1] == DONE
    first, second, third = replicas.asked
    assert first.vllm_xargs == {"qoe_tds": 3.0}
    assert second.vllm_xargs["qoe_resume_token_ids"] == [0, 1]
    assert third.vllm_xargs["qoe_resume_token_ids"] == [0, 1, 2]
    assert third.vllm_xargs["qoe_tds"] == 3.0
    assert all(body.return_token_ids for body in replicas.asked)


@pytest.mark.parametrize("more", [{}, {"presence_penalty": 1.0}])
@pytest.mark.parametrize("end", [RayActorError(), DEAD])
async def test_a_stream_without_a_token_is_asked_for_again(end: Any, more: Any) -> None:
    replicas = Replicas([end], [token(0, "length"), DONE])
    assert text_of(await answer(replicas, **more)) == "a"
    again = replicas.asked[1].vllm_xargs or {}
    assert "qoe_resume_token_ids" not in again


async def test_a_whole_answer_is_asked_for_again() -> None:
    whole = CompletionResponse(model="tiny", choices=[], usage={})
    failed = ErrorResponse(error=ErrorInfo(message="dead", type="x", code=500))
    replicas = Replicas([RayActorError()], [failed], [whole])
    assert await answer(replicas, stream=False) == [whole]


@pytest.mark.parametrize("stream", [False, True])
async def test_who_is_refused_by_one_replica_is_not_sent_to_another(stream: bool) -> None:
    error = {"message": REFUSAL, "type": "InternalServerError", "code": 503}
    refused: Any = ErrorResponse(error=ErrorInfo(**error))
    if stream:
        refused = f"data: {json.dumps({'error': error})}\n\n"
    replicas = Replicas([refused, DONE], [token(0, "length"), DONE])
    first = (await answer(replicas, stream=stream))[0]
    assert isinstance(first, ErrorResponse)
    assert (first.error.code, first.error.message) == (503, REFUSAL)
    assert len(replicas.asked) == 1


async def test_replicas_that_all_fail_before_a_token_are_an_error() -> None:
    replicas = Replicas(*[[RayActorError()]] * 4)
    with pytest.raises(RayActorError):
        await answer(replicas)
    assert len(replicas.asked) == 4
    with pytest.raises(BrokenOffError):
        await answer(Replicas([DEAD]), limit=0)


async def test_an_answer_loses_only_so_many_replicas() -> None:
    replicas = Replicas(*[[token(0), RayActorError()]] * 3)
    told = await answer(replicas, limit=2)
    assert "too many replicas failed" in error_in(told)
    assert len(replicas.asked) == 3


async def test_a_reader_does_not_wait_for_ever_for_the_rest() -> None:
    replicas = Replicas([token(0), RayActorError()], [60.0], [60.0])
    told = await answer(replicas, limit=2)
    assert "TimeoutError" in error_in(told)
    assert [call.cancelled.is_set() for call in replicas.calls] == [False, True, True]


@pytest.mark.parametrize("method", ["chat", "completions"])
async def test_what_cannot_be_continued_exactly_ends_with_the_reason(method: str) -> None:
    replicas = Replicas([token(0), RayActorError()])
    told = await answer(replicas, method, presence_penalty=1.0)
    assert "presence_penalty is set" in error_in(told)
    assert len(replicas.asked) == 1


async def test_a_stream_that_has_said_its_reason_has_ended() -> None:
    replicas = Replicas([token(0), token(1, "stop"), RayActorError()])
    told = await answer(replicas)
    assert text_of(told) == "ab"
    assert told[-1].endswith(DONE)
    assert len(replicas.asked) == 1


async def test_a_bad_request_is_nobodys_failure() -> None:
    bad = 'data: {"error":{"message":"token 400","type":"x","code":400}}\n\n'
    replicas = Replicas([bad, DONE])
    first, *_ = await answer(replicas)
    assert isinstance(first, ErrorResponse)
    assert first.error.code == 400
    assert len(replicas.asked) == 1


@pytest.mark.parametrize("end", [RayActorError(), EngineDeadError(), DEAD])
async def test_a_replica_that_dies_after_a_comment_has_another_one_asked(
    end: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas = Replicas([0.3, end], [0.3, token(0, "length"), DONE])
    response = await post(replicas, monkeypatch)
    assert response.status_code == 200
    comments, _, events = response.text.rpartition(": keep-alive\n\n")
    assert comments.count(": keep-alive") >= 2
    assert text_of([events]) == "a"
    assert events.endswith(DONE)
    assert len(replicas.asked) == 2


async def test_a_stream_that_fails_for_good_after_a_comment_ends_with_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    response = await post(Replicas(*[[0.3, RayActorError()]] * 4), monkeypatch)
    assert response.status_code == 200
    *_, event, done, _ = response.text.split("\n\n")
    assert json.loads(event.removeprefix("data: "))["error"]["code"] >= 500
    assert done == DONE.strip()


@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
@pytest.mark.parametrize("content", [b"\xff", b'{"prompt": "a", "n": {}}', b"[1]"])
async def test_a_body_of_another_kind_is_the_clients_fault(
    kind: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"content": content, "headers": {"content-type": kind}}
    response = await post(Replicas(), monkeypatch, **request)
    assert response.status_code == 400
    if content != b"\xff" or kind == "text/plain":
        assert response.json()["error"]["param"].startswith("body")


async def post(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, **request: Any
) -> httpx.Response:
    """What a client of the whole app gets, where 0.05 s are a long silence."""
    # Serve's own, of the class that it makes of an ingress.
    monkeypatch.setattr(OpenAiIngress, "_set_asgi_app", lambda *_: None, raising=False)
    ingress = ingress_of(replicas, keep_alive_interval_s=0.05)
    app = init()
    app.add_api_route("/v1/completions", ingress.completions, methods=["POST"])
    ingress._set_asgi_app(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        asked = {"json": {"model": "tiny", "prompt": "hi", "stream": True}}
        return await client.post("/v1/completions", **(request or asked))


@pytest.mark.parametrize("way", ["cancelled", "closed", "dropped"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_replica_does_not_write_for_nobody(way: str, stream: bool) -> None:
    replicas = Replicas([token(0), 60.0])
    answered = items(replicas, stream=stream)
    await anext(answered)
    assert not replicas.calls[0].cancelled.is_set()
    if way == "cancelled":
        reading = asyncio.ensure_future(anext(answered))
        await asyncio.sleep(0.01)
        reading.cancel()
    elif way == "closed":
        await answered.aclose()
    del answered
    async with asyncio.timeout(60.0):
        await replicas.calls[0].cancelled.wait()


async def test_a_replica_that_is_done_is_not_cancelled() -> None:
    replicas = Replicas([token(0), token(1, "length"), DONE])
    await answer(replicas)
    assert not replicas.calls[0].cancelled.is_set()
