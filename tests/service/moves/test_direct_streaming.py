"""Streams that wait on one replica of the real service are written by the other one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families
from ray.serve._private.constants import (
    RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT,
    RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT,
)

if TYPE_CHECKING:
    from conftest import Answer, Client

from deployments.observe import metrics_targets
from telemetry.catalogue import MOVES

# Moves are off by default, and a service of their own takes a minute.
pytestmark = pytest.mark.nightly

READER = {"qoe_ttft_s": 1.0, "qoe_tds": 4.8}
PROMPTS = [f"Tale number {i} of a river." + "x" * 150 for i in range(8)]
NUM_TOKENS = 400
COMING_S = 60.0
HTTP_PORTS = range(
    RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT, RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT + 1
)


@pytest.fixture
def replicas(moves: Client) -> Callable[[], dict[str, Any]]:
    """What each replica says of itself, by id."""

    def ask() -> dict[str, Any]:
        answers = moves.service.handle().broadcast("engine_report").results(timeout_s=30.0)
        return {answer["replica_id"]: answer for answer in answers}

    return ask


@pytest.fixture
def first(moves: Client, replicas: Any) -> Client:
    """A client of one replica, past HAProxy: its streams all begin there."""
    name, replica = min(replicas().items())
    (port,) = [
        socket.laddr.port
        for socket in psutil.Process(replica["pid"]).net_connections()
        if socket.status == psutil.CONN_LISTEN and socket.laddr.port in HTTP_PORTS
    ]
    url = f"http://127.0.0.1:{port}/v1"
    client = type(moves)(SimpleNamespace(base_url=url, model=moves.service.model))
    client.name = name
    return client


def eventually(look: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + COMING_S
    while not (seen := look()):
        assert time.monotonic() < deadline_s, "it did not come"
        time.sleep(0.1)
    return seen


def ask_for(client: Client, path: str, prompt: str) -> Callable[[], Answer]:
    ask = client.chat if path == "chat" else client.complete
    return partial(
        ask,
        prompt,
        stream=True,
        max_tokens=NUM_TOKENS,
        temperature=0.0,
        vllm_xargs=READER,
        stream_options={"include_usage": True},
    )


def in_prometheus() -> dict[str, float]:
    """What the pages of all nodes say of moves, by outcome."""
    total = dict.fromkeys(MOVES.labels["outcome"], 0.0)
    for target in metrics_targets(ray.nodes()):
        page = httpx.get(f"http://{target}/metrics", trust_env=False).text
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == MOVES.exposed:
                    total[sample.labels["outcome"]] += sample.value
    return total


@pytest.mark.parametrize("path", ["completion", "chat"])
def test_moved_streams_say_what_they_say_undisturbed(
    moves: Client, first: Client, replicas: Any, path: str
) -> None:
    alone = [ask_for(moves, path, prompt)() for prompt in PROMPTS]
    before = replicas()
    together = first.all_at_once([ask_for(first, path, prompt) for prompt in PROMPTS])
    # The first replica as well has freed what others wrote.
    moves.settled()
    after = replicas()
    for one, other in zip(alone, together, strict=True):
        assert other.text == one.text
        assert other.usage == one.usage
        assert other.usage["completion_tokens"] == NUM_TOKENS
        assert len({chunk["id"] for chunk in other.chunks}) == 1

    def more(name: str, what: str) -> int:
        return int(after[name]["moves"][what] - before[name]["moves"][what])

    assert more(first.name, "moved") > 0, after
    assert more(first.name, "failed") == more(first.name, "returned") == 0, after
    # Most of those that moved had begun: they lost their memory here.
    preempted = [r[first.name]["report"]["preemptions_total"] for r in (before, after)]
    assert preempted[1] > preempted[0]


def test_clients_that_leave_free_both_engines(
    moves: Client, first: Client, replicas: Any
) -> None:
    moved = replicas()[first.name]["moves"]["moved"]
    with ExitStack() as streams:
        for prompt in PROMPTS:
            request = {"prompt": prompt, "max_tokens": 1500, "ignore_eos": True}
            response = streams.enter_context(
                first.open("completions", stream=True, vllm_xargs=READER, **request)
            )
            assert response.status_code == 200

        def was_moved() -> bool:
            now = replicas()
            return (
                now[first.name]["moves"]["moved"] > moved
                and min(r["report"]["running"] for r in now.values()) > 0
            )

        eventually(was_moved)
    moves.settled()


def test_prometheus_knows_what_was_moved(moves: Client, replicas: Any) -> None:
    moves.settled()

    def all_known() -> bool:
        counts = [replica["moves"] for replica in replicas().values()]
        total = {name: sum(c[name] for c in counts) for name in counts[0]}
        return in_prometheus() == pytest.approx(total) and total["moved"] > 0

    eventually(all_known)
