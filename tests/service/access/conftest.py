"""What both paths must hold against whoever has no key, or asks for too much."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import openai
import psutil
import pytest

from deployments.processes import processes_of_session
from deployments.running import recall
from deployments.service import RUN_DIR

if TYPE_CHECKING:
    from tests.service.conftest import Client

GUARDED = ["/v1/models", "/demo/", "/demo/fleet", "/metrics", "/docs", "/v1/nothing"]
STREAM = "chatcmpl-5f0c2d3a-1111-4222-8333-444455556666"
VOICE = {"authorization": "Bearer of-somebody-who-listens"}
HASTY = {"authorization": "Bearer of-somebody-in-a-hurry"}


def _root(client: Client) -> str:
    return client.service.base_url.removesuffix("/v1")


def _without_a_key_nothing_is_told(client: Client) -> None:
    before = client.total("accepted_total")
    root, chat = _root(client), {"model": client.service.model, "messages": []}
    with httpx.Client(trust_env=False, base_url=root) as stranger:
        answers = [stranger.get(path) for path in GUARDED]
        answers += [
            stranger.post("/v1/chat/completions", json=chat),
            stranger.post(f"/v1/qoe/{STREAM}", json={"paused": True}),
        ]
        for answer in answers:
            assert answer.status_code == 401, answer.url
            assert answer.json()["error"]["type"] == "AuthenticationError"
        assert stranger.get("/health").status_code in (200, 404)
        assert stranger.get("/-/healthz").status_code == 200
    with (
        openai.OpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as sdk,
        pytest.raises(openai.AuthenticationError),
    ):
        sdk.models.list()
    assert client.total("accepted_total") == before


def _with_a_key_it_is_the_service_it_was(client: Client) -> None:
    answer = client.chat(stream=True, max_tokens=20)
    assert len(answer.text) == 20
    for path in ("/v1/models", "/demo/", "/demo/fleet"):
        assert client.http.get(_root(client) + path).status_code == 200


def _nobody_gets_more_than_its_key_allows(client: Client) -> None:
    request = {"model": client.service.model, "prompt": "a", "max_tokens": 2}
    url = f"{client.service.base_url}/completions"

    def ask(headers: dict[str, str], **fields: Any) -> httpx.Response:
        body = request | {"vllm_xargs": fields}
        return client.http.post(url, json=body, headers=headers)

    assert ask(VOICE, qoe_weight=3).status_code == 200
    for headers, weight, by in [
        (VOICE, 3.5, "api_keys[voice].max_weight"),
        ({}, 1.5, "args.caps.max_weight"),
    ]:
        refused = ask(headers, qoe_weight=weight)
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert error["param"] == "qoe_weight"
        assert error["message"].startswith(f"qoe_weight={weight} is invalid")
        assert by in error["message"]
    answers = [ask(HASTY) for _ in range(8)]
    slower = [answer for answer in answers if answer.status_code == 429]
    assert slower
    assert int(slower[0].headers["retry-after"]) >= 1


def _what_cannot_be_read_is_the_clients_fault(client: Client) -> None:
    url = f"{client.service.base_url}/chat/completions"
    for body in ("[" * 20_000, '{"messages": ' + "[" * 20_000, '{"a":' * 20_000):
        answer = client.http.post(
            url, content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["type"] == "BadRequestError"
    named = json.dumps({"model": client.service.model, "messages": []})
    answer = client.http.post(
        url, content=named, headers={"content-type": "application/json", "qoe-tds": "4"}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "qoe_tds")


def _other_machines_reach_nothing_of_it(_: Client) -> None:
    running = recall(RUN_DIR)
    assert running is not None
    assert running.own_ray is not None
    processes = processes_of_session(running.own_ray.head.pid)
    listening = [one for process in processes for one in _listening(process)]
    assert len(listening) > 20
    assert [one for one in listening if not _is_loopback(one)] == []


def _listening(process: psutil.Process) -> list[tuple[str, str, int]]:
    try:
        connections = process.net_connections("tcp")
        return [
            (process.name(), c.laddr.ip, c.laddr.port)
            for c in connections
            if c.status == psutil.CONN_LISTEN
        ]
    except psutil.NoSuchProcess:
        return []


def _is_loopback(one: tuple[str, str, int]) -> bool:
    address = ipaddress.ip_address(one[1])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


CHECKS = [
    _without_a_key_nothing_is_told,
    _with_a_key_it_is_the_service_it_was,
    _nobody_gets_more_than_its_key_allows,
    _what_cannot_be_read_is_the_clients_fault,
    _other_machines_reach_nothing_of_it,
]


@pytest.fixture(params=CHECKS, ids=lambda check: check.__name__.strip("_"))
def holds(request: pytest.FixtureRequest) -> Callable[[Client], None]:
    """One of the checks."""
    check: Callable[[Client], None] = request.param
    return check
