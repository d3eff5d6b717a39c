"""Clients leave, in every way and at every moment: nothing is written for them."""

from __future__ import annotations

import json
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai
import pytest

from bench.soak.rest import on_their_way

if TYPE_CHECKING:
    from conftest import Client

WAYS = ("close", "reset", "half-close", "http-1.0")
PROMPT, ASKED_TOKENS = "x" * 300, 1600
MESSAGES = [{"role": "user", "content": PROMPT}]
COMPLETION = {"prompt": PROMPT, "max_tokens": ASKED_TOKENS, "ignore_eos": True}
CHAT = {"messages": MESSAGES, "max_tokens": ASKED_TOKENS, "ignore_eos": True}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "completions": ("completions", COMPLETION),
    "chat": ("chat/completions", CHAT),
    "several": ("completions", COMPLETION | {"n": 2, "temperature": 1.0}),
    "several-chats": ("chat/completions", CHAT | {"n": 2, "temperature": 1.0}),
    "messages": ("messages", {"messages": MESSAGES, "max_tokens": ASKED_TOKENS}),
    "responses": ("responses", {"input": PROMPT, "max_output_tokens": ASKED_TOKENS}),
}
# Serve LLM's ingress has no others.
ON_BOTH_PATHS = ("completions", "chat", "several", "several-chats")
# As many of each way: those that are being served, and those that have only just come.
SERVED, COMING = 16, 8
# One answer that is written to its end is more; what engines write until they hear is less.
WRITTEN_FOR_NOBODY_TOKENS = 1000
# Of clients that give up and ask again.
IMPATIENT = 40


def ask(client: Client, request: str, *, stream: bool, way: str) -> socket.socket:
    path, fields = REQUESTS[request]
    body = json.dumps({"model": client.service.model, "stream": stream, **fields}).encode()
    url = urlsplit(client.service.base_url)
    version = "1.0" if way == "http-1.0" else "1.1"
    connection = socket.create_connection((url.hostname, url.port))
    connection.sendall(
        f"POST {url.path}/{path} HTTP/{version}\r\nHost: {url.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


def leave(connection: socket.socket, way: str) -> None:
    if way == "half-close":
        connection.shutdown(socket.SHUT_WR)
        return
    if way == "reset":
        option = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
    connection.close()


def require_that_all_may_leave(client: Client, request: str, *, stream: bool) -> None:
    client.settled()

    def crowd(size: int) -> list[tuple[socket.socket, str]]:
        ways = WAYS * (size // len(WAYS))
        return [(ask(client, request, stream=stream, way=way), way) for way in ways]

    clients = crowd(SERVED)
    # There are some that run, some that wait, and some that lost their memory.
    client.until(
        lambda reports: all(
            sum(getattr(report, state) for report in reports.values())
            for state in ("running", "waiting", "preempted", "tokens_total")
        )
    )
    clients += crowd(COMING)
    for connection, way in clients:
        leave(connection, way)
    before = tokens_total(client)
    client.settled()
    # Had one of them still been on its way, it would be served now.
    assert client.complete(max_tokens=1).status == 200
    written = client.total("tokens_total") - before
    assert written < WRITTEN_FOR_NOBODY_TOKENS
    for connection, _ in clients:
        connection.close()


def test_what_never_came_to_an_engine_counts_as_sent_no_longer(direct: Client) -> None:
    """The service's ledger forgets nothing by time, as the others here found out."""
    client = direct
    client.settled()
    bad = {"vllm_xargs": {"qoe_tds": "fast"}}
    assert {client.complete(**bad).status for _ in range(SERVED)} == {400}
    for _ in range(4):
        clients = [ask(client, "completions", stream=True, way="close") for _ in WAYS]
        for connection in clients:
            leave(connection, "close")
    # Ray publishes a metric every ten seconds.
    deadline_s = time.monotonic() + 60.0
    while on_their_way():
        assert time.monotonic() < deadline_s, on_their_way()
        time.sleep(1.0)


def tokens_total(client: Client) -> int:
    return sum(report.tokens_total for report in client.reports().values())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_who_leaves_direct_streaming_leaves_nothing(
    direct: Client, request_: str, stream: bool
) -> None:
    require_that_all_may_leave(direct, request_, stream=stream)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("request_", ON_BOTH_PATHS)
def test_who_leaves_the_handle_path_leaves_nothing(
    handle: Client, request_: str, stream: bool
) -> None:
    require_that_all_may_leave(handle, request_, stream=stream)


def test_attempts_given_up_on_direct_streaming_do_not_pile_up(direct: Client) -> None:
    require_that_attempts_do_not_pile_up(direct)


def test_attempts_given_up_on_the_handle_path_do_not_pile_up(handle: Client) -> None:
    require_that_attempts_do_not_pile_up(handle)


def require_that_attempts_do_not_pile_up(client: Client) -> None:
    """As many clients as an engine serves in four times their patience ask three times."""

    def is_answered(timeout_s: float) -> bool:
        with openai.OpenAI(
            base_url=client.service.base_url, api_key="none", timeout=timeout_s
        ) as sdk:
            try:
                sdk.completions.create(
                    model=client.service.model, prompt=PROMPT, max_tokens=200
                )
            except openai.APITimeoutError:
                return False
            return True

    with ThreadPoolExecutor(IMPATIENT) as pool:
        began_s = time.monotonic()
        assert all(pool.map(is_answered, [600.0] * IMPATIENT))
        patience_s = (time.monotonic() - began_s) / 4
        before = client.total("accepted_total")
        asked = [pool.submit(is_answered, patience_s) for _ in range(IMPATIENT)]
        most = 0
        while not all(one.done() for one in asked):
            reports = client.reports().values()
            most = max(most, sum(r.running + r.waiting for r in reports))
            time.sleep(0.05)
    tokens = tokens_total(client)
    attempts = client.total("accepted_total") - before
    assert attempts > IMPATIENT
    assert most < 1.25 * IMPATIENT, f"{attempts} attempts"
    assert client.total("tokens_total") - tokens < WRITTEN_FOR_NOBODY_TOKENS
