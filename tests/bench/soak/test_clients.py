"""Clients of a soak see what a service does wrong; this one does so on purpose."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.soak import clients as soak_clients
from bench.soak.clients import Clients
from bench.soak.plan import SHARES, WAYS, PlannedAsk
from bench.soak.results import Ended

Tokens = list[int]


class Peer:
    """A service whose answer to everything is the alphabet.

    Attributes:
        wrong: Changes the tokens of the attempts that it counts down.
        times: For so many attempts something goes wrong.
        ends: How a stream ends in those.
        has_routes: Whether it is the service that hears of bad fields, and no proxy.
    """

    def __init__(self) -> None:
        self.url = ""
        self.times = 0
        self.wrong: Callable[[Tokens], Tokens] = lambda tokens: tokens
        self.ends = "done"
        self.has_routes = True
        self.told: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if not self.has_routes and b"qoe_tds" in raw:
            return web.Response(status=404, text="no such path")
        try:
            body = json.loads(raw)
            fields = body["vllm_xargs"] | {"max_tokens": body["max_tokens"]}
        except (ValueError, TypeError, KeyError, RecursionError):
            return web.json_response({"error": {"message": "bad"}}, status=400)
        if body["model"] != "tiny" or any("qoe_tds" in name for name in fields):
            return web.json_response({"error": {"message": "bad"}}, status=400)
        received = fields.get("qoe_resume_token_ids", [])
        tokens = [i % 26 for i in range(body["max_tokens"])][len(received) :]
        goes_wrong, self.times = self.times > 0, self.times - 1
        tokens = self.wrong(tokens) if goes_wrong else tokens
        if not body["stream"]:
            await asyncio.sleep(0.2)
            return web.json_response({"choices": [choice(tokens, "text")]})
        return await self.stream(request, tokens, self.ends if goes_wrong else "done")

    async def stream(
        self, request: web.Request, tokens: Tokens, ends: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        is_chat = request.path.endswith("chat/completions")
        for token in tokens:
            said = choice([token], "chat" if is_chat else "text")
            await response.write(b"data: %s\n\n" % json.dumps({"choices": [said]}).encode())
            await asyncio.sleep(0.002)
        if ends == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif ends == "error":
            await response.write(b'data: {"error": {"message": "engine died"}}\n\n')
        elif ends == "done":
            last: dict[str, Any] = {"choices": [{"finish_reason": "length"}]}
            await response.write(b"data: %s\n\n" % json.dumps(last).encode())
            await response.write(b"data: [DONE]\n\n")
        return response

    async def read(self, *asks: PlannedAsk, until_s: float = 20.0) -> list[Ended]:
        """What clients see that have read the right answer before."""
        clients = Clients(f"{self.url}v1", "tiny", {}, self.told.append)
        times, self.times = self.times, 0
        await clients.undisturbed(20)
        self.times = times
        clients.begin()
        await clients.run(asks, until_s)
        assert clients.started == len(clients.ended) == len(asks)
        return clients.ended


def choice(tokens: Tokens, kind: str) -> dict[str, Any]:
    text = "".join(string.ascii_lowercase[token] for token in tokens)
    said = {"delta": {"content": text}} if kind == "chat" else {"text": text}
    is_whole = len(tokens) > 1
    return {**said, "token_ids": tokens, "finish_reason": "length" if is_whole else None}


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    app = web.Application()
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = peer.answer
    app.router.add_post("/v1/completions", handler)
    app.router.add_post("/v1/chat/completions", handler)
    async with TestServer(app) as server:
        peer.url = str(server.make_url("/"))
        yield peer


def ask(kind: str = "short", tokens: int = 12, **more: Any) -> PlannedAsk:
    return PlannedAsk(0.0, kind, 1, tokens, **more)


async def test_everybody_who_stays_gets_the_whole_answer(peer: Peer) -> None:
    kinds = [kind for kind in SHARES if kind not in ("leaves", "bad")]
    ends = await peer.read(*map(ask, [*kinds, "long"]))
    assert {one.ending for one in ends} == {"finished"}
    assert {one.tokens for one in ends} == {12}
    assert not any(one.breaks or one.difference for one in ends)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda t: t[:4] + t[5:] + [12], id="missing"),
        pytest.param(lambda t: t[:4] + t[3:-1], id="twice"),
        pytest.param(lambda t: [*t[:4], t[5], t[4], *t[6:]], id="out of order"),
        pytest.param(lambda t: [*t[:-1], 25], id="another"),
    ],
)
@pytest.mark.parametrize("kind", ["short", "chat", "whole"])
async def test_tokens_that_are_wrong_are_seen_and_told(
    peer: Peer, wrong: Callable[[Tokens], Tokens], kind: str
) -> None:
    peer.wrong, peer.times = wrong, 1
    (one,) = await peer.read(ask(kind))
    assert one.difference.startswith("token ")
    assert peer.told == [f"{kind} at 0 s: {one.difference}"]


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ("cut", "cut: "),
        ("error", "error event: engine died"),
        ("quietly", "the stream ended before its answer did"),
    ],
)
async def test_a_stream_that_breaks_off_is_told_and_goes_on(
    peer: Peer, ends: str, reason: str
) -> None:
    peer.wrong, peer.ends, peer.times = lambda tokens: tokens[:5], ends, 2
    (one,) = await peer.read(ask())
    assert (one.ending, one.tokens, one.difference) == ("finished", 12, "")
    assert [broken.reason.startswith(reason) for broken in one.breaks] == [True, True]


async def test_an_answer_that_is_too_short_is_lost(peer: Peer) -> None:
    peer.wrong, peer.times = lambda tokens: tokens[:5], 1
    (one,) = await peer.read(ask())
    assert (one.ending, one.reason) == ("failed", "5 tokens, not 12")


async def test_who_gets_nothing_gives_up(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak_clients, "GIVES_UP_S", 1.0)
    peer.wrong, peer.ends, peer.times = lambda tokens: [], "cut", 100
    (one,) = await peer.read(ask())
    assert one.ending == "failed"
    assert one.reason.startswith("cut: ")
    assert len(one.breaks) > 1


async def test_who_is_still_there_at_the_end_has_failed(peer: Peer) -> None:
    (one,) = await peer.read(ask(tokens=2000), until_s=1.0)
    assert (one.ending, one.reason) == ("failed", "still there when the soak ended")
    assert 0 < one.tokens < 2000


@pytest.mark.parametrize("way", WAYS)
async def test_who_leaves_has_left(peer: Peer, way: str) -> None:
    leaves = ask("leaves", 2000 if way != "timeout" else 12, way=way, leaves_after_s=0.1)
    (one,) = await peer.read(leaves)
    assert (one.ending, one.reason) == ("cancelled", f"left by {way}")
    assert one.kind == f"leaves ({way})"
    assert one.ended_s - one.began_s < 5.0


async def test_what_a_proxy_says_is_no_refusal_of_a_bad_request(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak_clients, "GIVES_UP_S", 0.5)
    peer.has_routes = False
    (one,) = await peer.read(ask("bad"))
    assert (one.ending, one.reason) == ("failed", "HTTP 404: no such path")


async def test_a_bad_request_that_is_answered_is_seen(peer: Peer) -> None:
    bad = [ask("bad", choice=i) for i in range(19)]
    ends = await peer.read(*bad)
    # This service knows of one bad field, and of what is no JSON.
    refused = [one.ending == "refused" for one in ends]
    assert 0 < sum(refused) < len(bad)
    assert {one.ending for one in ends} == {"refused", "failed"}
    answered = {one.reason for one in ends if one.ending == "failed"}
    assert answered == {"a bad request was answered"}
