"""Nothing is said to a client before there is something to say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployments.first_byte import FirstByteMiddleware

STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]
TOKEN = b'data: {"choices":[]}\n\n'
DEAD = b'data: {"error":{"message":"EngineCore encountered an issue.","code":500}}\n\n'
BAD = b'data: {"error":{"message":"token 400","code":400}}\n\n'
REFUSAL = (
    "qoe_patience_s=5: no first token could come within 5 s; the engine is overloaded; "
    "try again in 7 s."
)
REFUSED = json.dumps({"error": {"message": REFUSAL, "code": 503}}).encode()
FAILED = b'{"error":{"message":"The engine is paused.","code":503}}'
DONE = b"data: [DONE]\n\n"


def start(headers: Any, status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def sent(
    *messages: dict[str, Any], until: int | None = None, path: str = "/v1/completions"
) -> list[Any]:
    """What reaches the client after the first `until` messages of the app."""
    out: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages[:until]:
            await send(message)

    async def send(message: Any) -> None:
        out.append(message)

    scope = {"type": "http", "path": path}
    await FirstByteMiddleware(app)(scope, None, send)  # type: ignore[arg-type]
    return out


async def test_a_stream_begins_with_its_first_event() -> None:
    messages = [start(STREAM), body(TOKEN), body(DONE), body(b"", more=False)]
    assert await sent(*messages, until=1) == []
    assert await sent(*messages) == messages


@pytest.mark.parametrize(("event", "status"), [(DEAD, 502), (BAD, 400)])
async def test_a_stream_that_begins_with_an_error_is_that_error(
    event: bytes, status: int
) -> None:
    answer = await sent(start(STREAM), body(event), body(DONE), body(b"", more=False))
    assert [m["type"] for m in answer] == ["http.response.start", "http.response.body"]
    assert answer[0]["status"] == status
    assert answer[1]["body"] == event.removeprefix(b"data: ").strip()
    assert dict(answer[0]["headers"])[b"content-type"] == b"application/json"


async def test_an_error_after_the_first_event_stays_in_the_stream() -> None:
    messages = [start(STREAM), body(TOKEN), body(DEAD), body(DONE, more=False)]
    assert await sent(*messages) == messages


async def test_an_answer_that_is_no_stream_is_not_held() -> None:
    messages = [start(JSON), body(DEAD, more=False)]
    assert await sent(*messages, until=1) == messages[:1]
    assert await sent(*messages) == messages


@pytest.mark.parametrize("is_stream", [False, True])
async def test_who_is_refused_is_told_when_to_come_again(is_stream: bool) -> None:
    messages = [start(JSON, 503), body(REFUSED, more=False)]
    if is_stream:
        messages = [start(STREAM), body(b"data: " + REFUSED + b"\n\n"), body(DONE)]
    first, second = await sent(*messages)
    assert first["status"] == 503
    assert dict(first["headers"])[b"retry-after"] == b"7"
    assert json.loads(second["body"])["error"]["message"] == REFUSAL


async def test_an_engine_that_fails_has_another_one_asked() -> None:
    first, second = await sent(start(JSON, 503), body(FAILED, more=False))
    assert first["status"] == 502
    assert b"retry-after" not in dict(first["headers"])
    assert second["body"] == FAILED


async def test_a_word_of_a_reader_is_answered_as_it_is() -> None:
    messages = [start(JSON, 503), body(FAILED, more=False)]
    assert await sent(*messages, path="/v1/qoe/cmpl-1") == messages


async def test_a_503_without_an_error_of_openais_shape_is_not_touched() -> None:
    messages = [start([], 503), body(b"", more=False)]
    assert await sent(*messages, path="/health") == messages


@pytest.mark.parametrize(
    ("status", "message", "retry_after"),
    [(503, REFUSAL, b"7"), (400, "qoe_tds=-3 is invalid, it must\nbe (0, 1000].", None)],
)
async def test_an_error_is_told_as_it_was_said_and_not_as_it_was_wrapped(
    status: int, message: str, retry_after: bytes | None
) -> None:
    from ray.llm._internal.serve.core.configs.openai_api_models import (  # noqa: PLC0415
        OpenAIHTTPException,
    )
    from ray.llm._internal.serve.utils.server_utils import (  # noqa: PLC0415
        get_response_for_error,
    )

    raised = OpenAIHTTPException(message=message, status_code=status, type="E")
    wrapped = get_response_for_error(raised, "some-id").model_dump_json().encode()
    first, second = await sent(
        start([*JSON, (b"x-request-id", b"some-id")], status), body(wrapped, more=False)
    )
    assert json.loads(second["body"])["error"]["message"] == message
    headers = dict(first["headers"])
    assert first["status"] == status
    assert headers.get(b"retry-after") == retry_after
    assert headers[b"x-request-id"] == b"some-id"
    assert headers[b"content-length"] == str(len(second["body"])).encode()


@pytest.mark.parametrize(
    "content", [b'{"error":"a word"}', b'{"detail":"Not Found"}', b"no"]
)
async def test_an_error_of_another_shape_is_told_as_it_is(content: bytes) -> None:
    messages = [start(JSON, 404), body(content, more=False)]
    assert await sent(*messages) == messages


async def test_an_error_that_quotes_half_of_a_surrogate_pair_is_told() -> None:
    message = "Message: \ud800, Internal exception: nothing"
    error = json.dumps({"error": {"message": message, "code": 400}}).encode()
    first, second = await sent(start(JSON, 400), body(error, more=False))
    assert first["status"] == 400
    assert json.loads(second["body"])["error"]["message"] == "\ud800"
