"""The endpoint `/v1/qoe/{request_id}`: what it passes on, and what it says otherwise."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deployments.access.middleware import AccessMiddleware
from deployments.feedback import (
    MAX_BODY_BYTES,
    MAX_KNOWN_STREAMS,
    METHOD,
    PATH,
    EngineFeedback,
    FeedbackLimit,
    UnknownHolderError,
    ask_replicas,
    engine_ids,
    respond,
)
from deployments.server import AndesServer
from qoe import Caps, Feedback
from telemetry.feedback import FeedbackReceiver

CHAT = "chatcmpl-5f0c2d3a-1111-4222-8333-444455556666"
COMPLETION = "cmpl-5f0c2d3a-1111-4222-8333-444455556666"
PAUSED = Feedback(paused=True)


class Holder:
    """Writes some streams, and remembers what it was told.

    Attributes:
        writes: The streams; an exception is raised instead.
        told: What came.
    """

    def __init__(self) -> None:
        self.writes: set[str] | Exception = {CHAT, COMPLETION}
        self.told: list[tuple[str, Feedback]] = []

    async def tell(self, request_id: str, feedback: Feedback) -> bool:
        if isinstance(self.writes, Exception):
            raise self.writes
        self.told.append((request_id, feedback))
        return request_id in self.writes


@pytest.fixture
def holder() -> Holder:
    return Holder()


@pytest.fixture
async def client(holder: Holder) -> AsyncIterator[httpx.AsyncClient]:
    async def qoe(request: Request) -> Response:
        request_id = request.path_params["request_id"]
        return await respond(request_id, request, holder.tell, limit)

    limit = FeedbackLimit()

    app = Starlette(routes=[Route(PATH, qoe, methods=["POST"])])
    app.add_middleware(AccessMiddleware, caps=Caps(max_tds=20.0))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
        yield client


@pytest.mark.parametrize("request_id", [CHAT, COMPLETION])
async def test_a_word_is_passed_on_once_and_answered_without_a_body(
    holder: Holder, client: httpx.AsyncClient, request_id: str
) -> None:
    word = {"buffer_tokens": 12, "paused": False, "tds": 6}
    answer = await client.post(f"/v1/qoe/{request_id}", json=word)
    assert (answer.status_code, answer.content) == (204, b"")
    assert holder.told == [(request_id, Feedback(12.0, False, 6.0))]


async def test_a_pace_beyond_the_callers_cap_is_refused_as_in_a_request(
    holder: Holder, client: httpx.AsyncClient
) -> None:
    answer = await client.post(f"/v1/qoe/{CHAT}", json={"tds": 20.5})
    assert answer.status_code == 400
    said = answer.json()["error"]["message"]
    assert said.startswith("tds=20.5 is invalid: it must be from 0.01 to 20 tokens/s")
    assert holder.told == []


async def test_the_media_type_is_of_no_account(
    holder: Holder, client: httpx.AsyncClient
) -> None:
    """A page that is being hidden can send nothing but text."""
    answer = await client.post(
        f"/v1/qoe/{CHAT}",
        content=b'{"paused": true}',
        headers={"content-type": "text/plain;charset=UTF-8"},
    )
    assert answer.status_code == 204
    assert holder.told == [(CHAT, PAUSED)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"paused": 0}', "paused"),
        (b'{"tds": NaN}', "tds"),
        (b'{"tds": Infinity}', "tds"),
        (b'{"buffer_tokens": 1e400}', "buffer_tokens"),
        (b'{"pause": true}', "pause"),
        (b"{}", "body"),
        (b"[1]", "body"),
        (b"", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * (MAX_BODY_BYTES - 1), "body"),
        (b" " * (MAX_BODY_BYTES + 1), "body"),
    ],
)
async def test_a_bad_word_is_told_to_nobody(
    holder: Holder, client: httpx.AsyncClient, body: bytes, field: str
) -> None:
    answer = await client.post(f"/v1/qoe/{CHAT}", content=body)
    error = answer.json()["error"]
    assert answer.status_code == error["code"] == 400
    assert error["type"] == "BadRequestError"
    assert error["param"] == field
    assert error["message"].startswith(f"{field}=")
    assert holder.told == []


@pytest.mark.parametrize(
    "request_id",
    [
        "chatcmpl-00000000-0000-4000-8000-000000000000",
        pytest.param("chatcmpl-my-own-name", id="easy-to-guess"),
        pytest.param(CHAT.removeprefix("chatcmpl-"), id="no-name-of-a-stream"),
        pytest.param("chatcmpl-" + "x" * 300, id="no-name-of-ours"),
    ],
)
async def test_a_stream_that_nobody_writes_is_not_found(
    client: httpx.AsyncClient, request_id: str
) -> None:
    answer = await client.post(f"/v1/qoe/{request_id}", json={"paused": True})
    error = answer.json()["error"]
    assert answer.status_code == error["code"] == 404
    assert error["param"] == "request_id"
    assert request_id[:200] in error["message"]


async def test_a_name_that_can_be_guessed_is_asked_of_nobody(
    holder: Holder, client: httpx.AsyncClient
) -> None:
    assert isinstance(holder.writes, set)
    holder.writes.add("chatcmpl-7")
    answer = await client.post("/v1/qoe/chatcmpl-7", json={"paused": True})
    assert answer.status_code == 404
    assert holder.told == []


async def test_not_knowing_is_not_a_no(holder: Holder, client: httpx.AsyncClient) -> None:
    holder.writes = UnknownHolderError("1 of the replicas did not answer; try again.")
    answer = await client.post(f"/v1/qoe/{CHAT}", json={"paused": True})
    assert answer.status_code == answer.json()["error"]["code"] == 503


class Handle:
    """A deployment whose replicas answer so."""

    def __init__(self, *answers: object) -> None:
        self._answers = answers
        self.asked: list[Any] = []

    def broadcast(self, *call: Any) -> Handle:
        self.asked.append(call)
        return self

    async def results_async(
        self, *, timeout_s: float, return_exceptions: bool
    ) -> list[object]:
        assert return_exceptions
        if self._answers == ("late",):
            raise TimeoutError
        return list(self._answers)


async def test_all_replicas_are_asked_and_one_that_writes_is_enough() -> None:
    handles = [Handle(False, True, RuntimeError("it died")), Handle("late")]
    assert await ask_replicas(handles, CHAT, PAUSED)
    assert handles[0].asked == [(METHOD, CHAT, PAUSED)]
    assert callable(getattr(AndesServer, METHOD))


async def test_nobody_writes_it_once_all_have_said_so() -> None:
    assert not await ask_replicas([Handle(False, False), Handle(False)], CHAT, PAUSED)


@pytest.mark.parametrize("answers", [(False, RuntimeError("it died")), ("late",)])
async def test_a_replica_that_says_nothing_may_be_the_one(answers: Any) -> None:
    with pytest.raises(UnknownHolderError, match="1 of the replicas"):
        await ask_replicas([Handle(False), Handle(*answers)], CHAT, PAUSED)


def test_a_client_names_a_request_and_the_engine_each_of_its_answers() -> None:
    live = {
        CHAT: [f"0_{CHAT}-aaaaaaaa", f"1_{CHAT}-aaaaaaaa"],
        f"{COMPLETION}-0": [f"{COMPLETION}-0-bbbbbbbb"],
        f"{COMPLETION}-12": [f"{COMPLETION}-12-cccccccc"],
        f"{COMPLETION}-1-2": ["somebody else's"],
        f"{COMPLETION}x-0": ["somebody else's"],
    }
    assert engine_ids(CHAT, live) == live[CHAT]
    assert engine_ids(COMPLETION, live) == [
        f"{COMPLETION}-0-bbbbbbbb",
        f"{COMPLETION}-12-cccccccc",
    ]
    assert engine_ids("chatcmpl-gone", live) == []
    # A part of somebody's name is not their name.
    assert engine_ids("cmpl-.*", live) == engine_ids(CHAT[:-1], live) == []


def until(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_a_word_comes_to_the_engine_that_listens() -> None:
    engine_feedback = EngineFeedback()
    assert not engine_feedback.send([], PAUSED)
    with FeedbackReceiver(engine_feedback.engine_endpoint) as engine:
        assert until(lambda: engine_feedback.send(["a", "b"], PAUSED))
        told: list[tuple[str, Feedback]] = []
        assert until(lambda: bool(told.extend(engine.take()) or told))
    assert told == [("a", PAUSED), ("b", PAUSED)]
    engine_feedback.close()
    engine_feedback.close()
    assert not engine_feedback.send(["a"], PAUSED)


def chat_id(number: int) -> str:
    return f"chatcmpl-5f0c2d3a-1111-4222-8333-{number:012d}"


async def test_a_client_that_says_too_much_is_told_when_to_go_on(
    holder: Holder, client: httpx.AsyncClient
) -> None:
    holder.writes = {chat_id(1), chat_id(2)}
    answers = [
        await client.post(f"/v1/qoe/{chat_id(1)}", json={"tds": 5}) for _ in range(40)
    ]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].json()["error"]["type"] == "RateLimitError"
    assert len(holder.told) == 40 - len(refused)
    other = await client.post(f"/v1/qoe/{chat_id(2)}", json={"tds": 5})
    assert other.status_code == 204


def test_words_about_streams_that_are_written_cost_others_nothing() -> None:
    limit = FeedbackLimit(now_s=lambda: 0.0)
    for number in range(5000):
        assert limit.take(chat_id(number)) == 0.0
        limit.found()


def test_guessing_ids_asks_replicas_only_so_often_and_remembers_only_so_much() -> None:
    now_s = 0.0
    limit = FeedbackLimit(now_s=lambda: now_s)
    passed = sum(limit.take(chat_id(number)) == 0.0 for number in range(10_000))
    assert passed == 200
    assert len(limit._streams) == MAX_KNOWN_STREAMS
    now_s = 1.0
    assert limit.take(chat_id(10_001)) == 0.0
