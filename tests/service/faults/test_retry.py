"""Whoever has not got a byte when a replica dies is served by another one, unasked."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from telemetry import catalogue

if TYPE_CHECKING:
    from conftest import Client

    from deployments.service import Service

# Two or three of these fill an engine: most of them wait.
STREAMS, WAITING = 20, 3
REQUEST: dict[str, Any] = {"prompt": "x" * 1200, "max_tokens": 200, "temperature": 0.0}
# Ray publishes a metric every ten seconds.
PUBLISHED_S = 40.0
# A byte that was sent before the kill has come by then.
ON_ITS_WAY_S = 1.0


@dataclass(frozen=True)
class Read:
    """What a client got: all of it, or what came before it broke off."""

    status: int
    text: str
    broke_off: bool
    first_at_s: float


def read(client: Client, is_stream: bool) -> Read:
    with client.open("completions", stream=is_stream, **REQUEST) as response:
        if not is_stream or response.status_code != httpx.codes.OK:
            body = json.loads(response.read())
            text = body["choices"][0]["text"] if "choices" in body else ""
            return Read(response.status_code, text, False, time.monotonic())
        parts, first_at_s, broke_off = [], time.monotonic(), False
        try:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line.removeprefix("data: "))
                    broke_off |= "error" in chunk
                    parts += [choice["text"] for choice in chunk.get("choices", ())]
        except httpx.TransportError:
            broke_off = True
        return Read(response.status_code, "".join(parts), broke_off, first_at_s)


def crowded(client: Client, faults: Any) -> tuple[Any, Any] | None:
    """A replica that writes while others wait for their first token, and the other one."""
    one, two = faults.replicas(client).values()
    for victim, other in ((one, two), (two, one)):
        report = victim["report"]
        new = report["waiting"] - report["preempted"]
        if new >= WAITING and report["running"]:
            return victim, other
    return None


def since(before: dict[str, Any], replica: Any, field: str) -> int:
    earlier = before[replica["replica_id"]]["report"]
    return int(replica["report"][field] - earlier[field])


def on_their_way(service: Service) -> float | None:
    """Streams in the ledgers of all routers; None while nobody has told."""
    import ray  # noqa: PLC0415 - it is the service that starts it

    metric = f"ray_{catalogue.LEDGER.name}{{"
    told = [
        float(line.rsplit(" ", 1)[1])
        for node in ray.nodes()
        for line in httpx.get(
            f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}",
            trust_env=False,
        ).text.splitlines()
        if line.startswith(metric)
    ]
    return sum(told) if told else None


@pytest.mark.parametrize(
    ("kill", "unstreamed"),
    [
        ("kill_replica", True),
        # Such an answer is HTTP 500 where an engine dies.
        pytest.param("kill_engine", False, marks=pytest.mark.nightly),
    ],
)
def test_who_waits_without_a_byte_is_served_by_another_replica(
    faults: Any, direct: Client, at_once: Any, kill: str, unstreamed: bool
) -> None:
    faults.ready(direct)
    undisturbed = direct.ask("completions", stream=True, **REQUEST).text
    before = faults.replicas(direct)
    streams = [
        at_once(read, direct, not (unstreamed and i % 4 == 3)) for i in range(STREAMS)
    ]
    victim, other = faults.eventually(lambda: crowded(direct, faults))
    killed_at_s = time.monotonic()
    getattr(faults, kill)(victim)
    reads = [stream.result() for stream in streams]

    assert [one.status for one in reads] == [200] * STREAMS
    whole = [one for one in reads if not one.broke_off]
    assert all(one.text == undisturbed for one in whole)
    # Who had begun, or had a comment, is told, and not begun again behind their back.
    for one in set(reads) - set(whole):
        assert one.first_at_s < killed_at_s + ON_ITS_WAY_S
        assert undisturbed.startswith(one.text)
    assert max(one.first_at_s for one in whole) - killed_at_s < faults.NOTICED_S
    # Reports are a moment old: one more may have ended on the victim than they say.
    ended = since(before, victim, "finished_total")
    broke_off = STREAMS - len(whole)
    assert since(before, victim, "accepted_total") - ended - broke_off > 1, "nobody was hit"
    served = since(before, faults.replicas(direct)[other["replica_id"]], "accepted_total")
    assert len(whole) - ended - 1 <= served <= len(whole) - ended, "each asked once"
    faults.whole_again(direct, victim)
    faults.eventually(lambda: on_their_way(direct.service) == 0.0, PUBLISHED_S)
