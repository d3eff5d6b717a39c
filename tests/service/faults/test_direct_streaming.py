"""Nobody stands between a dead replica and its client, who can go on by itself."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from telemetry.routing_stats import from_routing_stats

if TYPE_CHECKING:
    from conftest import Client


def read_until_cut(client: Client, path: str, request: Any) -> tuple[list[Any], float]:
    """The chunks of a stream that breaks off, and when it did."""
    chunks: list[Any] = []
    with client.open(path, **request) as response:
        try:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    chunks.append(json.loads(line.removeprefix("data: ")))
        except httpx.TransportError:
            return chunks, time.monotonic()
    return chunks, time.monotonic()


def takes_streams(client: Client, replica: Any) -> bool:
    """What a router knows of it."""
    router = client.service.handle()._router._asyncio_router.request_router
    stats = {r.unique_id: v.routing_stats for r, v in router.curr_replicas.items()}
    report = from_routing_stats(stats.get(replica["replica_id"], {}))
    return report is None or report.accepting


@pytest.mark.parametrize(
    ("path", "kill"),
    [("completions", "kill_replica"), ("chat/completions", "kill_engine")],
)
def test_in_direct_streaming_a_client_goes_on_by_itself(
    faults: Any, direct: Client, at_once: Any, path: str, kill: str
) -> None:
    faults.ready(direct)
    request: dict[str, Any] = {
        "stream": True,
        "max_tokens": faults.LONG,
        "temperature": 0.0,
        "return_token_ids": True,
        "vllm_xargs": faults.READER,
    }
    prompt = {"messages": [{"role": "user", "content": "Hello"}]}
    request |= prompt if path.startswith("chat") else {"prompt": "Hello"}
    undisturbed = direct.ask(path, **request)
    asked_at_s = time.monotonic()
    hit = at_once(read_until_cut, direct, path, request)
    victim = faults.writer(direct)
    untouched = faults.elsewhere(
        direct, lambda: at_once(direct.ask, path, **request), victim["replica_id"]
    )
    killed_at_s = time.monotonic()
    getattr(faults, kill)(victim)
    chunks, ended_at_s = hit.result()
    assert ended_at_s - killed_at_s < faults.NOTICED_S
    if kill == "kill_engine":
        assert chunks.pop()["error"]["code"] == 500
    received = [
        token
        for chunk in chunks
        for choice in chunk["choices"]
        for token in choice.get("token_ids") or ()
    ]
    assert 0 < len(received) < faults.LONG
    # The dead engine's replica is alive, but routers know before Serve asks it.
    if kill == "kill_engine":
        known_s = faults.NOTICED_S - (time.monotonic() - killed_at_s)
        faults.eventually(lambda: not takes_streams(direct, victim), known_s)
    age_s = time.monotonic() - asked_at_s
    resume = {"qoe_resume_token_ids": received, "qoe_age_s": age_s}
    rest = direct.ask(path, **request | {"vllm_xargs": faults.READER | resume})
    assert rest.status == 200
    assert faults.text_of(chunks) + rest.text == undisturbed.text
    assert untouched.result().text == undisturbed.text
    asks = [partial(direct.complete, stream=True, max_tokens=20)] * 8
    assert [answer.status for answer in direct.all_at_once(asks)] == [200] * 8
    faults.whole_again(direct, victim)


def test_a_continuation_that_cannot_be_exact_is_refused(
    faults: Any, direct: Client
) -> None:
    before = direct.total("accepted_total")
    fields = faults.READER | {"qoe_resume_token_ids": [5, 6]}
    for ask in (direct.chat, direct.complete):
        answer = ask(stream=True, max_tokens=5, vllm_xargs=fields, presence_penalty=1.0)
        assert answer.status == 400
        assert "presence_penalty is set" in answer.error["message"]
        answer = ask(stream=False, max_tokens=5, vllm_xargs=fields)
        assert "set stream to true" in answer.error["message"]
        fields = faults.READER | {"qoe_resume_token_ids": [320]}
        answer = ask(stream=True, max_tokens=5, vllm_xargs=fields)
        assert answer.status == 400
        assert "must be from 0 to 319" in answer.error["message"]
        assert answer.error["param"] == "qoe_resume_token_ids"
    assert direct.total("accepted_total") == before
