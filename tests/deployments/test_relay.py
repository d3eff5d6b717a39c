"""However many replicas write a stream, its client reads one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployments.relay import BrokenOffError, Relay, error_code, error_event
from qoe import Expectation

READER = Expectation(1.0, 5.0)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def relay(clock: Clock, **more: Any) -> Relay:
    wanted = {"wants_token_ids": False, "wants_usage": False} | more
    return Relay(wanted.pop("fields", {}), READER, clock, **wanted)


def event(**chunk: Any) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def text(tokens: list[int], *, name: str = "a", reason: str | None = None) -> str:
    choice = {"index": 0, "text": "x" * len(tokens), "token_ids": tokens}
    choice |= {"finish_reason": reason, "prompt_token_ids": None}
    return event(id=name, created=ord(name), model="m", choices=[choice])


def delta(name: str, tokens: list[int], **delta: Any) -> str:
    choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": None}
    choice |= {"token_ids": tokens} if tokens else {}
    more = {"prompt_token_ids": [1, 2, 3]} if "role" in delta else {}
    return event(id=name, created=ord(name), model="m", choices=[choice], **more)


def read(told: str | None) -> dict[str, Any]:
    assert told is not None
    chunk: dict[str, Any] = json.loads(told.removeprefix("data: "))
    return chunk


def test_the_next_attempt_is_told_what_the_reader_has(clock: Clock) -> None:
    stream = relay(clock)
    clock.now_s += 2.0
    stream.rewrite(text([5, 6, 7, 8, 9]))
    clock.now_s += 0.25
    assert stream.next_attempt() == {
        "qoe_age_s": pytest.approx(2.25),
        "qoe_resume_token_ids": [5, 6, 7, 8, 9],
        "qoe_slack_s": pytest.approx(0.75),
    }
    stream.rewrite(text([10], name="b"))
    assert stream.next_attempt()["qoe_resume_token_ids"] == [5, 6, 7, 8, 9, 10]


def test_a_stream_of_which_nothing_came_keeps_only_its_age(clock: Clock) -> None:
    stream = relay(clock)
    clock.now_s += 4.0
    assert stream.next_attempt() == {"qoe_age_s": 4.0}


def test_a_clients_own_continuation_can_be_continued(clock: Clock) -> None:
    fields = {"qoe_resume_token_ids": [1, 2], "qoe_age_s": 3.0, "qoe_slack_s": -1.0}
    stream = relay(clock, fields=fields)
    clock.now_s += 1.0
    again = stream.next_attempt()
    assert again == {
        "qoe_age_s": 4.0,
        "qoe_resume_token_ids": [1, 2],
        "qoe_slack_s": -2.0,
    }
    stream.rewrite(text([3]))
    assert stream.next_attempt()["qoe_resume_token_ids"] == [1, 2, 3]


def test_chunks_keep_their_first_id_and_lose_ids_nobody_asked_for(clock: Clock) -> None:
    stream = relay(clock)
    first = read(stream.rewrite(text([5])))
    stream.next_attempt()
    second = read(stream.rewrite(text([6], name="b", reason="length")))
    for chunk in (first, second):
        assert (chunk["id"], chunk["created"]) == ("a", ord("a"))
        assert "token_ids" not in chunk["choices"][0]
        assert "prompt_token_ids" not in chunk["choices"][0]
    assert second["choices"][0]["finish_reason"] == "length"
    assert stream.has_finished


def test_a_client_that_asked_for_token_ids_gets_them(clock: Clock) -> None:
    stream = relay(clock, wants_token_ids=True)
    role = read(stream.rewrite(delta("a", [], role="assistant", content="")))
    assert role["prompt_token_ids"] == [1, 2, 3]
    assert read(stream.rewrite(delta("a", [5], content="x")))["choices"][0][
        "token_ids"
    ] == [5]
    # A parser may write nothing for a token.
    assert read(stream.rewrite(delta("a", [6])))["choices"][0]["token_ids"] == [6]


def test_a_role_is_said_once(clock: Clock) -> None:
    stream = relay(clock)
    assert stream.rewrite(delta("a", [], role="assistant", content="")) is not None
    assert stream.rewrite(delta("a", [5], content="x")) is not None
    stream.next_attempt()
    assert stream.rewrite(delta("b", [], role="assistant", content="")) is None
    assert stream.rewrite(delta("b", [6], content="y")) is not None
    assert stream.rewrite(delta("b", [7])) is None
    assert stream.token_ids == [5, 6, 7]


def test_usage_counts_what_every_attempt_wrote(clock: Clock) -> None:
    stream = relay(clock, wants_usage=True)
    stream.rewrite(text([5, 6]))
    stream.next_attempt()
    stream.rewrite(text([7], name="b"))
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    last = read(stream.rewrite(event(id="b", created=2, choices=[], usage=usage)))
    assert last["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 3,
        "total_tokens": 6,
    }
    assert stream.ending() == ""


def test_usage_that_a_dead_replica_still_owed_is_told(clock: Clock) -> None:
    stream = relay(clock, wants_usage=True)
    stream.rewrite(delta("a", [], role="assistant", content=""))
    stream.rewrite(text([5, 6], reason="stop"))
    last = read(stream.ending())
    assert last["usage"]["completion_tokens"] == 2
    assert last["usage"]["prompt_tokens"] == 3
    assert (last["id"], last["choices"]) == ("a", [])


def test_text_without_its_tokens_is_noticed(clock: Clock) -> None:
    stream = relay(clock)
    assert not stream.is_blind
    stream.rewrite(delta("a", [], content="hidden"))
    assert stream.is_blind


@pytest.mark.parametrize("code", [500, 503, None])
def test_an_error_of_the_replica_breaks_the_stream_off(clock: Clock, code: Any) -> None:
    with pytest.raises(BrokenOffError, match="dead"):
        relay(clock).rewrite(event(error={"message": "dead", "code": code}))
    with pytest.raises(BrokenOffError):
        relay(clock).rewrite(error_event("dead"))


def test_an_error_of_the_request_and_the_end_go_through(clock: Clock) -> None:
    stream = relay(clock)
    bad = event(error={"message": "too long", "code": 400})
    assert stream.rewrite(bad) == bad
    assert stream.rewrite("data: [DONE]\n\n") == "data: [DONE]\n\n"


@pytest.mark.parametrize("code", [[1], {}, 1e999, "x", None, 0, 200, 10**9])
def test_a_code_that_is_no_status_is_an_error_of_the_server(code: Any) -> None:
    assert error_code(event(error={"message": "m", "code": code})) == 500


@pytest.mark.parametrize("error", ["a word", [1], None])
def test_an_error_of_another_shape_breaks_a_stream_off(clock: Clock, error: Any) -> None:
    with pytest.raises(BrokenOffError):
        relay(clock).rewrite(event(error=error))


def test_an_error_that_nests_too_deep_is_one() -> None:
    assert error_code('{"error":' + "[" * 20_000) == 500


def test_half_of_a_surrogate_pair_is_told_as_it_came(clock: Clock) -> None:
    told = relay(clock).rewrite(event(choices=[{"index": 0, "text": "\ud800é"}]))
    assert told is not None
    assert "é" in told
    assert read(told.encode().decode())["choices"][0]["text"] == "\ud800é"
