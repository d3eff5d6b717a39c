"""Streams of tokens, whoever writes them: read, or refused with the documented error."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sse import MAX_LINE_BYTES, MAX_TOKENS, StreamDecoder, StreamError, error_message
from deployments.first_byte import FirstByteMiddleware
from deployments.json_bodies import nests_too_deep
from deployments.keep_alive import KeepAliveMiddleware
from deployments.relay import BrokenOffError, Relay, error_code, error_of
from pacer.chunks import Chunks, StreamBroken
from pacer.page import Options, Page
from qoe import PROFILES

READER = PROFILES["reading"].expectation
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "completion_tokens_details": {"reasoning_tokens": 1},
}
HEAD = {"id": "cmpl-1", "created": 1, "model": "tiny", "usage": USAGE}
COMPLETION = HEAD | {
    "choices": [
        {"index": 0, "text": " a", "finish_reason": None, "token_ids": [5, 6]}
        | {"logprobs": {"tokens": [" a"]}}
    ]
}
CHAT = HEAD | {
    "choices": [
        {"index": 0, "finish_reason": "stop", "token_ids": None}
        | {"delta": {"role": "assistant", "content": "é", "reasoning": "hm"}}
    ]
}
ERROR = {"error": {"message": "it failed", "type": "E", "param": None, "code": 503}}
ITEMS = (COMPLETION, CHAT, ERROR)
STREAM = (
    b": keep-alive\r\n\r\n"
    + b"".join(f"data: {json.dumps(item)}\n\n".encode() for item in ITEMS[:2])
    + b"data: [DONE]\n\n"
)


def items(fuzz: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(ITEMS).flatmap(fuzz.changed)


@given(st.data())
def test_a_benchmark_counts_tokens_or_says_what_is_wrong(
    fuzz: Any, data: st.DataObject
) -> None:
    stream = data.draw(
        fuzz.garbled(STREAM)
        | st.lists(items(fuzz), max_size=4).map(
            lambda many: b"".join(f"data: {json.dumps(i)}\n\n".encode() for i in many)
        )
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=3)))
    decoder, counted = StreamDecoder(), 0
    try:
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            counted += decoder.feed(stream[begin:end])
    except StreamError as error:
        said = error
    else:
        assert counted == decoder.num_tokens <= MAX_TOKENS
        return
    assert said.kind in ("malformed", "error_event")
    assert str(said) or said.kind == "error_event"


def test_a_line_without_an_end_is_not_kept() -> None:
    decoder, half = StreamDecoder(), b"x" * (MAX_LINE_BYTES // 2 + 1)
    decoder.feed(half)
    with pytest.raises(StreamError, match="a line has more than"):
        decoder.feed(half)


@given(st.data())
def test_any_body_has_a_message(fuzz: Any, data: st.DataObject) -> None:
    assert isinstance(
        error_message(data.draw(fuzz.garbled(json.dumps(ERROR).encode()))), str
    )


@given(st.data())
def test_a_reader_is_shown_what_came_or_the_stream_is_refused(
    fuzz: Any, data: st.DataObject
) -> None:
    chunks, page, came = Chunks(), Page(Options(READER)), []
    for at_s, item in enumerate(data.draw(st.lists(items(fuzz) | fuzz.values, max_size=5))):
        try:
            delta = chunks.read(item)
        except (StreamBroken, TypeError):
            continue
        came.append(delta.text)
        page.push(float(at_s), delta.text, delta.tokens)
        if delta.all_tokens is not None:
            page.recount(float(at_s), delta.all_tokens)
    page.end()
    shown, now_s = [], 10.0
    while not page.is_done:
        shown.append(page.look(now_s))
        now_s = max(now_s + 1e-6, page.next_at_s() or 0.0)
    assert "".join(shown) == "".join(came)
    assert chunks.request_id is None or isinstance(chunks.request_id, str)


@given(st.data())
def test_a_relayed_stream_is_one_or_has_broken_off(fuzz: Any, data: st.DataObject) -> None:
    """Replicas write well-formed events; what they say in an error may be anything."""
    relay = Relay({}, READER, lambda: 1.0, wants_token_ids=False, wants_usage=True)
    for error in data.draw(st.lists(fuzz.changed(ERROR["error"]), max_size=4)):
        event = f"data: {json.dumps({'error': error})}\n\n"
        code = error_code(event)
        assert code is not None
        assert 400 <= code < 600
        try:
            told = relay.rewrite(event)
        except BrokenOffError:
            assert code >= 500
        else:
            assert told == event


@given(st.data())
def test_any_text_may_be_an_error(fuzz: Any, data: st.DataObject) -> None:
    event = data.draw(fuzz.garbled(f"data: {json.dumps(ERROR)}".encode()))
    text = event.decode(errors="replace")
    assert (error_code(text) is None) == (error_of(text) is None)


def starts(fuzz: Any) -> st.SearchStrategy[dict[str, Any]]:
    kinds = [b"text/event-stream; charset=utf-8", b"application/json", b"\xff"]
    return st.builds(
        lambda status, kind: {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"Content-Type", kind)],
        },
        st.sampled_from([200, 204, 400, 404, 429, 499, 500, 503, 599]),
        st.sampled_from(kinds),
    )


@given(st.data())
async def test_an_answer_is_whole_whatever_the_app_says(
    fuzz: Any, data: st.DataObject
) -> None:
    contents = st.lists(
        fuzz.garbled(f"data: {json.dumps(ERROR)}\n\n".encode())
        | fuzz.changed(ERROR).map(lambda error: f"data: {json.dumps(error)}\n\n".encode())
        | fuzz.changed(ERROR).map(lambda error: json.dumps(error).encode()),
        min_size=1,
        max_size=3,
    )
    start, bodies = data.draw(starts(fuzz)), data.draw(contents)
    stream = json.dumps({"stream": data.draw(st.booleans())}).encode()
    late = data.draw(st.booleans())
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if late:
            # As if a comment had been due.
            await asyncio.sleep(0.002)
        await send(start)
        for at, content in enumerate(bodies):
            more = at < len(bodies) - 1
            await send({"type": "http.response.body", "body": content, "more_body": more})

    async def receive() -> Any:
        return {"type": "http.request", "body": stream}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
    inner = KeepAliveMiddleware(app, interval_s=0.0 if late else 60.0)
    await FirstByteMiddleware(inner)(scope, receive, send)
    assert [m["type"] for m in sent].count("http.response.start") == 1
    assert sent[0]["type"] == "http.response.start"
    assert not sent[-1].get("more_body")
    headers = {name.lower(): value for name, value in sent[0]["headers"]}
    if b"content-length" in headers:
        body = b"".join(m["body"] for m in sent[1:])
        assert int(headers[b"content-length"]) == len(body)


@given(st.data())
def test_what_nests_too_deep_is_seen_before_a_parser_gives_up(
    fuzz: Any, data: st.DataObject
) -> None:
    body = data.draw(fuzz.garbled(json.dumps(CHAT, ensure_ascii=False).encode()))
    if nests_too_deep(body):
        return
    try:
        msgspec.json.decode(body)
    except RecursionError:
        pytest.fail("a parser gave up")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
