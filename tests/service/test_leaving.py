"""Clients leave, in every way and at every moment: nothing is written for them."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import openai
import pytest

from tests.leaving import KINDS, WAYS, ask, leave, request_of

if TYPE_CHECKING:
    from conftest import Client

PROMPT, ASKED_TOKENS = "x" * 300, 1600
# Serve LLM's ingress has no others.
ON_BOTH_PATHS = KINDS[:4]
# As many of each way: those that are being served, and those that have only just come.
SERVED, COMING = 16, 8
# One answer that is written to its end is more; what engines write until they hear is less.
WRITTEN_FOR_NOBODY_TOKENS = 1000
# Of clients that give up and ask again.
IMPATIENT = 40


def require_that_all_may_leave(client: Client, kind: str, *, stream: bool) -> None:
    path, body = request_of(kind, PROMPT, ASKED_TOKENS)
    url = f"{client.service.base_url}/{path}"
    body |= {"model": client.service.model, "stream": stream}
    client.settled()

    def crowd(size: int) -> list[tuple[socket.socket, str]]:
        ways = WAYS * (size // len(WAYS))
        return [(ask(url, way, body, client.headers), way) for way in ways]

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


def tokens_total(client: Client) -> int:
    return sum(report.tokens_total for report in client.reports().values())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_who_leaves_direct_streaming_leaves_nothing(
    direct: Client, kind: str, stream: bool
) -> None:
    require_that_all_may_leave(direct, kind, stream=stream)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", ON_BOTH_PATHS)
def test_who_leaves_the_handle_path_leaves_nothing(
    handle: Client, kind: str, stream: bool
) -> None:
    require_that_all_may_leave(handle, kind, stream=stream)


def test_attempts_given_up_on_direct_streaming_do_not_pile_up(direct: Client) -> None:
    require_that_attempts_do_not_pile_up(direct)


def test_attempts_given_up_on_the_handle_path_do_not_pile_up(handle: Client) -> None:
    require_that_attempts_do_not_pile_up(handle)


def require_that_attempts_do_not_pile_up(client: Client) -> None:
    """As many clients as an engine serves in four times their patience ask three times."""

    def is_answered(timeout_s: float) -> bool:
        with openai.OpenAI(
            base_url=client.service.base_url,
            api_key="none",
            default_headers=client.headers,
            timeout=timeout_s,
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
