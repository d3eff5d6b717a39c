"""Nothing is said to a client before there is something to say."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.first_byte import FirstByteMiddleware

STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
JSON = [(b"content-type", b"application/json")]
TOKEN = b'data: {"choices":[]}\n\n'
DEAD = b'data: {"error":{"message":"EngineCore encountered an issue.","code":500}}\n\n'
BAD = b'data: {"error":{"message":"token 400","code":400}}\n\n'
DONE = b"data: [DONE]\n\n"


def start(headers: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": headers}


def body(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def sent(*messages: dict[str, Any], until: int | None = None) -> list[Any]:
    """What reaches the client after the first `until` messages of the app."""
    out: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages[:until]:
            await send(message)

    async def send(message: Any) -> None:
        out.append(message)

    await FirstByteMiddleware(app)({"type": "http"}, None, send)  # type: ignore[arg-type]
    return out


async def test_a_stream_begins_with_its_first_event() -> None:
    messages = [start(STREAM), body(TOKEN), body(DONE), body(b"", more=False)]
    assert await sent(*messages, until=1) == []
    assert await sent(*messages) == messages


@pytest.mark.parametrize(("event", "status"), [(DEAD, 503), (BAD, 400)])
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
