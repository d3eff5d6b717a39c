"""Requests, scores and reports go wrong; the router goes on."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from ray.llm._internal.serve.core.configs.openai_api_models import CompletionRequest

from telemetry.broadcast import seal
from telemetry.routing_stats import endpoint_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from conftest import Answer, Client


class Sender:
    """Sends requests with a router of its own: one that the test can look into."""

    def __init__(self, client: Client) -> None:
        self._client = client
        handle = client.service.handle()
        self._method = handle.options(stream=True).completions
        self._method.remote  # noqa: B018 - the router is made when it is asked for
        self.router = handle._router._asyncio_router.request_router

    def send(self, max_tokens: int) -> Any:
        request = CompletionRequest(
            model=self._client.service.model,
            prompt="Hello",
            max_tokens=max_tokens,
            temperature=0.0,
            stream=True,
        )
        return self._method.remote(request)

    @property
    def on_their_way(self) -> int:
        return len(self.router.chooser.ledger)


def tokens_of(stream: Any) -> int:
    """How many the tiny model wrote, one letter each."""
    events = [json.loads(e[6:]) for batch in stream for e in batch if "[DONE]" not in e]
    return sum(len(choice["text"]) for event in events for choice in event["choices"])


@pytest.fixture
def sender(pair: Client, faults: Any) -> Sender:
    # A handle learns of the replicas with its first call.
    faults.replicas(pair)
    return Sender(pair)


def test_what_is_cancelled_while_it_waits_leaves_nothing(
    faults: Any, pair: Client, sender: Sender
) -> None:
    streams = [sender.send(400) for _ in range(24)]
    time.sleep(0.5)
    for stream in streams[12:]:
        stream.cancel()
    assert [tokens_of(stream) for stream in streams[:12]] == [400] * 12
    pair.settled()
    faults.eventually(lambda: tokens_of(sender.send(1)) == 1 and sender.on_their_way == 0)


def test_when_a_replica_dies_the_ledger_drains_and_who_cannot_go_on_is_told_why(
    faults: Any, pair: Client, sender: Sender, at_once: Any
) -> None:
    faults.ready(pair)
    hit: Future[Answer] = at_once(faults.ask_long(pair.complete, presence_penalty=0.5))
    victim = faults.writer(pair)
    streams = [at_once(tokens_of, sender.send(faults.LONG)) for _ in range(4)]
    faults.eventually(
        lambda: all(r["report"]["running"] for r in faults.replicas(pair).values())
    )
    killed_at_s = time.monotonic()
    faults.kill_replica(victim)
    answer = hit.result()
    assert answer.received_at_s[-1] - killed_at_s < faults.NOTICED_S
    error = answer.chunks[-1]["error"]
    assert error["code"] == 503
    assert "cannot be continued: presence_penalty is set" in error["message"]
    assert len(answer.chunks) > 1
    ended = [stream.exception() or stream.result() for stream in streams]
    assert faults.LONG in ended, "the streams of the other replica"
    assert any(isinstance(end, Exception) for end in ended)
    faults.eventually(lambda: sender.on_their_way == 0)
    faults.whole_again(pair, victim)


def test_a_scorer_that_raises_costs_nobody_the_answer(
    faults: Any, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("no score")

    monkeypatch.setattr(sender.router.chooser._ranker, "rank", broken)
    before = sender.router.chooser.counts["error"]
    assert [tokens_of(sender.send(20)) for _ in range(4)] == [20] * 4
    assert sender.router.chooser.counts["error"] >= before + 4


def test_garbage_on_the_report_sockets_is_dropped(
    faults: Any, pair: Client, sender: Sender
) -> None:
    endpoints = {
        replica_id: endpoint_of(replica.routing_stats)
        for replica_id, replica in sender.router.curr_replicas.items()
    }
    for endpoint in endpoints.values():
        host, port = re.findall(r"tcp://([^:]+):(\d+)", endpoint)[0]
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"\xff garbage \x00" * 100)
    liar = zmq.Context.instance().socket(zmq.PUB)
    key = seal(liar)
    port = liar.bind_to_random_port("tcp://127.0.0.1")
    listener = sender.router._listener
    try:

        def refused() -> bool:
            # Serve's next broadcast takes the liar off the list again.
            listener.listen_to(endpoints | {"liar": f"tcp://127.0.0.1:{port}#{key}"})
            for _ in range(20):
                liar.send_multipart([b"garbage"])
                time.sleep(0.02)
            # Routers do so with every placement.
            listener.poll()
            return bool(listener.refused_total)

        assert faults.eventually(refused)
        assert tokens_of(sender.send(5)) == 5
    finally:
        liar.close(linger=0)
    before = {name: r["report"]["seq"] for name, r in faults.replicas(pair).items()}
    faults.eventually(
        lambda: (
            all(r["report"]["seq"] > before[n] for n, r in faults.replicas(pair).items())
            or not tokens_of(sender.send(5))
        )
    )
