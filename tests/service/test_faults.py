"""Replicas, engines and requests fail, on the real service; readers hardly notice."""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import zmq
from ray.llm._internal.serve.core.configs.openai_api_models import CompletionRequest

from telemetry.routing_stats import endpoint_of, from_routing_stats

if TYPE_CHECKING:
    from conftest import Answer, Client

READER = {"qoe_ttft_s": 1.0, "qoe_tds": 4.8}
LONG = 1500
# Within this a stream goes on, or says why it does not.
NOTICED_S = 5.0
RESTART_S = 300.0

Replica = dict[str, Any]


@pytest.fixture
def at_once() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor(32) as pool:
        yield pool.submit


def replicas(client: Client) -> dict[str, Replica]:
    """The replicas that answer, by id."""
    answers = client.service.handle().broadcast("engine_report").results(timeout_s=30.0)
    return {answer["replica_id"]: answer for answer in answers if answer["report"]}


def eventually(look: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """What `look` says once it says something; a replica that is dying may not answer."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        seen = None
        try:
            if seen := look():
                return seen
        except Exception:
            if time.monotonic() > deadline_s:
                raise
        assert time.monotonic() < deadline_s, seen
        time.sleep(0.1)


def writer(client: Client, but: str = "") -> Replica:
    """A replica that writes; another one than `but`."""

    def look() -> Replica | None:
        busy = [r for r in replicas(client).values() if r["report"]["running"]]
        return next((r for r in busy if r["replica_id"] != but), None)

    replica: Replica = eventually(look)
    return replica


def whole_again(client: Client, gone: Replica) -> dict[str, Replica]:
    """Both replicas, once Serve has replaced the one that is gone and both are used."""

    def look() -> dict[str, Replica] | None:
        now = replicas(client)
        return now if len(now) == 2 and gone["replica_id"] not in now else None

    both: dict[str, Replica] = eventually(look, RESTART_S)
    assert gone["report"]["epoch"] not in {r["report"]["epoch"] for r in both.values()}

    def both_took() -> bool:
        asks = [partial(client.complete, stream=True, max_tokens=40)] * 4
        client.all_at_once(asks)
        now = replicas(client)
        return all(
            now[name]["report"]["accepted_total"] > r["report"]["accepted_total"]
            for name, r in both.items()
        )

    assert eventually(both_took, RESTART_S)
    return both


def kill_replica(replica: Replica) -> None:
    psutil.Process(replica["pid"]).send_signal(signal.SIGKILL)


def kill_engine(replica: Replica) -> None:
    (engine,) = [
        child
        for child in psutil.Process(replica["pid"]).children()
        if "EngineCore" in " ".join(child.cmdline())
    ]
    engine.send_signal(signal.SIGKILL)


def longest_gap_s(answer: Answer) -> float:
    return max(b - a for a, b in itertools.pairwise(answer.received_at_s))


def text_of(chunks: list[Any]) -> str:
    choices = [c for chunk in chunks for c in chunk.get("choices", ())]
    return "".join(
        c.get("text") or c.get("delta", {}).get("content") or "" for c in choices
    )


def ask_long(ask: Callable[..., Answer], **more: Any) -> Callable[[], Answer]:
    return partial(
        ask,
        stream=True,
        max_tokens=LONG,
        temperature=0.0,
        vllm_xargs=READER,
        stream_options={"include_usage": True},
        **more,
    )


@pytest.mark.parametrize(
    ("path", "kill"), [("chat", kill_replica), ("complete", kill_engine)]
)
def test_a_stream_goes_on_through_another_replica(
    pair: Client, at_once: Any, path: str, kill: Callable[[Replica], None]
) -> None:
    ask = ask_long(getattr(pair, path))
    undisturbed = ask()
    assert undisturbed.usage["completion_tokens"] == LONG
    hit: Future[Answer] = at_once(ask)
    victim = writer(pair)
    untouched: Future[Answer] = at_once(ask)
    writer(pair, but=victim["replica_id"])
    kill(victim)
    for answer in (hit.result(), untouched.result()):
        assert answer.text == undisturbed.text
        assert answer.usage == undisturbed.usage
        assert len({chunk["id"] for chunk in answer.chunks}) == 1
        said = [json.dumps(chunk) for chunk in answer.chunks]
        assert sum('"role"' in chunk for chunk in said) == (path == "chat")
        assert not any("token_ids" in chunk for chunk in said)
        assert longest_gap_s(answer) < NOTICED_S
    whole_again(pair, victim)


def test_a_stream_that_cannot_go_on_says_why(pair: Client, at_once: Any) -> None:
    hit: Future[Answer] = at_once(ask_long(pair.complete, presence_penalty=0.5))
    victim = writer(pair)
    killed_at_s = time.monotonic()
    kill_replica(victim)
    answer = hit.result()
    assert answer.received_at_s[-1] - killed_at_s < NOTICED_S
    error = answer.chunks[-1]["error"]
    assert error["code"] == 503
    assert "cannot be continued: presence_penalty is set" in error["message"]
    assert len(answer.chunks) > 1
    whole_again(pair, victim)


def test_with_all_replicas_full_everybody_is_served_in_the_end(pair: Client) -> None:
    ask = partial(pair.complete, stream=True, max_tokens=150, vllm_xargs=READER)
    answers = pair.all_at_once([ask] * 30)
    assert [len(answer.text) for answer in answers] == [150] * 30


class Sender:
    """Sends requests with a router of its own: one that the test can look into."""

    def __init__(self, client: Client) -> None:
        self._client = client
        handle = client.service.handle()
        replicas(client)
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
    return len(text_of(events))


@pytest.fixture
def sender(pair: Client) -> Sender:
    return Sender(pair)


def test_what_is_cancelled_while_it_waits_leaves_nothing(
    pair: Client, sender: Sender
) -> None:
    streams = [sender.send(400) for _ in range(24)]
    time.sleep(0.5)
    for stream in streams[12:]:
        stream.cancel()
    assert [tokens_of(stream) for stream in streams[:12]] == [400] * 12
    pair.settled()
    eventually(lambda: tokens_of(sender.send(1)) == 1 and sender.on_their_way == 0)


def test_the_ledger_drains_when_a_replica_dies(
    pair: Client, sender: Sender, at_once: Any
) -> None:
    streams = [at_once(tokens_of, sender.send(LONG)) for _ in range(4)]
    victim = writer(pair)
    kill_replica(victim)
    ended = [stream.exception() or stream.result() for stream in streams]
    assert LONG in ended, "the streams of the other replica"
    assert any(isinstance(end, Exception) for end in ended)
    eventually(lambda: sender.on_their_way == 0)
    whole_again(pair, victim)


def test_a_scorer_that_raises_costs_nobody_the_answer(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("no score")

    monkeypatch.setattr(sender.router.chooser._ranker, "rank", broken)
    before = sender.router.chooser.counts["error"]
    assert [tokens_of(sender.send(20)) for _ in range(4)] == [20] * 4
    assert sender.router.chooser.counts["error"] >= before + 4


def test_garbage_on_the_report_sockets_is_dropped(pair: Client, sender: Sender) -> None:
    endpoints = {
        replica_id: endpoint_of(replica.routing_stats)
        for replica_id, replica in sender.router.curr_replicas.items()
    }
    for endpoint in endpoints.values():
        host, port = re.findall(r"tcp://(.+):(\d+)", endpoint)[0]
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"\xff garbage \x00" * 100)
    liar = zmq.Context.instance().socket(zmq.PUB)
    port = liar.bind_to_random_port("tcp://127.0.0.1")
    listener = sender.router._listener
    try:

        def refused() -> bool:
            # Serve's next broadcast would take the liar off the list.
            listener.listen_to(endpoints | {"liar": f"tcp://127.0.0.1:{port}"})
            liar.send_multipart([b"garbage"])
            assert tokens_of(sender.send(5)) == 5
            return bool(listener.refused_total)

        assert eventually(refused)
    finally:
        liar.close(linger=0)
    before = {name: r["report"]["seq"] for name, r in replicas(pair).items()}
    eventually(
        lambda: (
            all(r["report"]["seq"] > before[n] for n, r in replicas(pair).items())
            or not tokens_of(sender.send(5))
        )
    )


def read_until_cut(client: Client, path: str, request: Any) -> tuple[list[Any], float]:
    """The chunks of a stream that breaks off, and when it did."""
    chunks: list[Any] = []
    with client.open(path, **request) as response:
        try:
            for line in response.iter_lines():
                if line and line != "data: [DONE]":
                    chunks.append(json.loads(line.removeprefix("data: ")))
        except httpx.TransportError:
            return chunks, time.monotonic()
    return chunks, time.monotonic()


@pytest.mark.parametrize(
    ("path", "kill"),
    [("completions", kill_replica), ("chat/completions", kill_engine)],
)
def test_in_direct_streaming_a_client_goes_on_by_itself(
    direct: Client, at_once: Any, path: str, kill: Callable[[Replica], None]
) -> None:
    request: dict[str, Any] = {
        "stream": True,
        "max_tokens": LONG,
        "temperature": 0.0,
        "return_token_ids": True,
        "vllm_xargs": READER,
    }
    prompt = {"messages": [{"role": "user", "content": "Hello"}]}
    request |= prompt if path.startswith("chat") else {"prompt": "Hello"}
    undisturbed = direct.ask(path, **request)
    asked_at_s = time.monotonic()
    hit = at_once(read_until_cut, direct, path, request)
    victim = writer(direct)
    untouched = at_once(direct.ask, path, **request)
    writer(direct, but=victim["replica_id"])
    killed_at_s = time.monotonic()
    kill(victim)
    chunks, ended_at_s = hit.result()
    assert ended_at_s - killed_at_s < NOTICED_S
    if kill is kill_engine:
        assert chunks.pop()["error"]["code"] == 500
    received = [
        token
        for chunk in chunks
        for choice in chunk["choices"]
        for token in choice.get("token_ids") or ()
    ]
    assert 0 < len(received) < LONG
    # The dead engine's replica is alive, but nobody is sent there any more.
    time.sleep(1.0)
    age_s = time.monotonic() - asked_at_s
    resume = {"qoe_resume_token_ids": received, "qoe_age_s": age_s}
    rest = direct.ask(path, **request | {"vllm_xargs": READER | resume})
    assert rest.status == 200
    assert text_of(chunks) + rest.text == undisturbed.text
    assert untouched.result().text == undisturbed.text
    asks = [partial(direct.complete, stream=True, max_tokens=20)] * 8
    assert [answer.status for answer in direct.all_at_once(asks)] == [200] * 8
    whole_again(direct, victim)


def test_a_continuation_that_cannot_be_exact_is_refused(direct: Client) -> None:
    before = direct.total("accepted_total")
    fields = READER | {"qoe_resume_token_ids": [5, 6]}
    for ask in (direct.chat, direct.complete):
        answer = ask(stream=True, max_tokens=5, vllm_xargs=fields, presence_penalty=1.0)
        assert answer.status == 400
        assert "presence_penalty is set" in answer.error["message"]
        answer = ask(stream=False, max_tokens=5, vllm_xargs=fields)
        assert "set stream to true" in answer.error["message"]
        fields = READER | {"qoe_resume_token_ids": [320]}
        answer = ask(stream=True, max_tokens=5, vllm_xargs=fields)
        assert answer.status == 400
        assert "must be from 0 to 319" in answer.error["message"]
        assert answer.error["param"] == "qoe_resume_token_ids"
    assert direct.total("accepted_total") == before


def test_replicas_say_that_their_engine_died_before_serve_asks(direct: Client) -> None:
    replicas(direct)
    router = direct.service.handle()._router._asyncio_router.request_router
    victim = next(iter(replicas(direct).values()))
    kill_engine(victim)

    def is_known() -> bool:
        stats = {r.unique_id: v.routing_stats for r, v in router.curr_replicas.items()}
        report = from_routing_stats(stats.get(victim["replica_id"], {}))
        return report is not None and not report.accepting

    eventually(is_known, NOTICED_S)
    whole_again(direct, victim)
