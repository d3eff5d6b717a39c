import json

import pytest

from bench.sse import MAX_LINE_BYTES, StreamDecoder, StreamError, error_message


def event(**fields) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def content(text: str = "x", finish: str | None = None) -> list[dict]:
    return [{"index": 0, "text": text, "finish_reason": finish}]


STREAM = (
    b": a comment\r\n\r\n"
    + event(choices=content(), usage={"completion_tokens": 1})
    + event(choices=content("née"), usage={"completion_tokens": 4})
    + event(choices=content("", "length"), usage={"completion_tokens": 5})
    + event(choices=[], usage={"completion_tokens": 5})
    + b"data: [DONE]\n\n"
)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_tokens_do_not_depend_on_where_the_bytes_are_cut(size) -> None:
    decoder = StreamDecoder()
    counts = [decoder.feed(STREAM[i : i + size]) for i in range(0, len(STREAM), size)]
    assert sum(counts) == decoder.num_tokens == 5
    assert decoder.finished


def test_a_chunk_with_usage_counts_for_as_many_tokens_as_it_adds() -> None:
    decoder = StreamDecoder()
    assert decoder.feed(event(choices=content(), usage={"completion_tokens": 3})) == 3
    assert decoder.feed(event(choices=content(), usage={"completion_tokens": 4})) == 1


def test_a_token_without_text_is_a_token_where_usage_says_so() -> None:
    decoder = StreamDecoder()
    assert decoder.feed(event(choices=content(""), usage={"completion_tokens": 1})) == 1


def test_without_usage_a_chunk_with_text_is_one_token() -> None:
    decoder = StreamDecoder()
    assert decoder.feed(event(choices=content(), usage=None)) == 1
    assert decoder.feed(event(choices=content())) == 1
    assert decoder.feed(event(choices=content("", "stop"))) == 0
    assert decoder.feed(event(choices=[], usage={"completion_tokens": 9})) == 0
    assert decoder.finished


def test_a_stream_is_not_finished_until_the_server_says_so() -> None:
    decoder = StreamDecoder()
    decoder.feed(event(choices=content()))
    assert not decoder.finished
    decoder.feed(b"data: [DONE]\n\n")
    assert decoder.finished


def test_an_error_event_is_raised_with_its_message() -> None:
    with pytest.raises(StreamError, match="out of memory") as raised:
        StreamDecoder().feed(event(error={"message": "out of memory", "code": 500}))
    assert raised.value.kind == "error_event"


@pytest.mark.parametrize(
    "payload",
    [
        b"data: {nope\n",
        b"data: [1]\n",
        b'data: {"choices":1}\n',
        b'data: {"x":' + b"[" * 20_000 + b"\n",
        event(choices=content(), usage={"completion_tokens": 10**15}),
        event(choices=content(), usage={"completion_tokens": -1}),
        b"x" * (MAX_LINE_BYTES + 1),
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_an_event_that_is_no_chunk_is_malformed(payload) -> None:
    with pytest.raises(StreamError) as raised:
        StreamDecoder().feed(payload)
    assert raised.value.kind == "malformed"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "too long", "code": 400}}', "too long"),
        (b'{"detail": "nope"}', '{"detail": "nope"}'),
        (b"<html>", "<html>"),
        (b"", ""),
        (b'{"error":' + b"[" * 20_000, '{"error":' + "[" * 191),
        (b'{"error": "flat"}', '{"error": "flat"}'),
    ],
)
def test_an_error_body_of_any_form_gives_a_message(body, message) -> None:
    assert error_message(body) == message
