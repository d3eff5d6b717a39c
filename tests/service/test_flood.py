"""More requests than all engines hold, on both ways to a client."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from bench.soak.rest import on_their_way

if TYPE_CHECKING:
    from conftest import Client

CROWD = 120
RECOVERED_S = 10.0
# A ledger forgets after ten seconds, and Ray publishes what it has every ten.
FORGOTTEN_S = 40.0
REQUEST: dict[str, Any] = {"max_tokens": 200, "vllm_xargs": {"qoe_ttft_s": 1.0}}
pytestmark = pytest.mark.nightly


class Told(NamedTuple):
    """A whole answer, as it came."""

    status: int
    retry_after: str
    text: str


def test_a_flood_is_refused_in_direct_streaming(keyed: Client) -> None:
    require_refusals_and_a_quick_recovery(keyed)


def test_a_flood_is_refused_on_the_handle_path(pair: Client) -> None:
    require_refusals_and_a_quick_recovery(pair)


def require_refusals_and_a_quick_recovery(client: Client) -> None:
    limit = client.service.config.args.max_ongoing_requests
    before = client.total("accepted_total")
    told, held = flood(client)
    ended_at_s = time.monotonic()
    first_token_of(client)
    assert time.monotonic() - ended_at_s < RECOVERED_S

    taken = [answer for answer in told if answer.status == httpx.codes.OK]
    refused = [answer for answer in told if answer.status != httpx.codes.OK]
    assert held == limit
    assert len(taken) >= limit
    assert len(refused) >= limit
    for answer in refused:
        assert answer.status == httpx.codes.SERVICE_UNAVAILABLE, answer
        assert 1 <= int(answer.retry_after) <= 60
        assert json.loads(answer.text)["error"]["message"] == (
            f"The engine is full: it takes {limit} requests at a time; "
            f"try again in {answer.retry_after} s."
        )
    for answer in taken:
        assert answer.text.count('"finish_reason":"length"') == 1, answer
    # Nobody was asked twice.
    assert client.total("accepted_total") - before == len(taken) + 1
    deadline_s = time.monotonic() + FORGOTTEN_S
    while on_their_way():
        assert time.monotonic() < deadline_s
        time.sleep(1.0)


def flood(client: Client) -> tuple[list[Told], int]:
    """All answers to a crowd, and how many requests an engine held at most."""
    kinds = itertools.product(("completions", "chat/completions"), (False, True))
    with ThreadPoolExecutor(CROWD) as pool:
        asks = [
            pool.submit(ask, client, path, stream=stream)
            for path, stream in itertools.islice(itertools.cycle(kinds), CROWD)
        ]
        held = max(most_held(client, lambda: all(a.done() for a in asks)))
        return [a.result() for a in asks], held


def most_held(client: Client, is_over: Any) -> Iterator[int]:
    while not is_over():
        yield max(r.running + r.waiting for r in client.reports().values())
        time.sleep(0.05)


def ask(client: Client, path: str, *, stream: bool) -> Told:
    request = REQUEST | {"prompt": "x" * 300}
    if path == "chat/completions":
        messages = [{"role": "user", "content": "x" * 300}]
        request = REQUEST | {"messages": messages}
    with client.open(path, stream=stream, **request) as response:
        text = response.read().decode()
        return Told(response.status_code, response.headers.get("retry-after", ""), text)


def first_token_of(client: Client) -> None:
    """Wait for the first token of a stream, and let it end."""
    answer = client.complete(stream=True, max_tokens=1)
    assert answer.status == httpx.codes.OK
    assert answer.text
