"""Streams of minutes outlive what happens to other replicas."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import Client

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1500)]

# Two cores write at most 1,200 tokens/s: these last for 200 s together.
STREAMS, TOKENS = 16, 15_000
# By default Serve has HAProxy cut old streams 120 s after a reload, which follows a change
# of the replicas by a second or two.
HARD_STOP_S = 130.0


@dataclass(frozen=True)
class Read:
    """How a stream ended for its client, and when (monotonic seconds)."""

    is_whole: bool
    ended_at_s: float


def read(client: Client) -> Read:
    request = {"prompt": "A river", "max_tokens": TOKENS, "temperature": 0.0}
    tail = b""
    try:
        with client.open("completions", stream=True, **request) as response:
            for part in response.iter_raw():
                tail = (tail + part)[-200:]
    except httpx.TransportError:
        return Read(False, time.monotonic())
    is_whole = b"data: [DONE]" in tail and b'"error"' not in tail
    return Read(is_whole, time.monotonic())


def all_written(faults: Any, client: Client) -> dict[str, Any] | None:
    """The replicas once they write all streams between them."""
    now: dict[str, Any] = faults.replicas(client)
    written = [replica["report"]["running"] for replica in now.values()]
    return now if all(written) and sum(written) == STREAMS else None


def test_streams_outlive_the_reloads_that_another_replicas_death_brings(
    faults: Any, long: Client, at_once: Any
) -> None:
    faults.ready(long)
    long.http.timeout = httpx.Timeout(900.0)
    streams = [at_once(partial(read, long)) for _ in range(STREAMS)]
    both = faults.eventually(lambda: all_written(faults, long))
    victim = next(iter(both.values()))
    faults.kill_replica(victim)
    killed_at_s = time.monotonic()
    reads = [stream.result() for stream in streams]
    lasted = [r.ended_at_s - killed_at_s for r in reads]
    hit = [s for r, s in zip(reads, lasted, strict=True) if s < faults.NOTICED_S]
    assert len(hit) == victim["report"]["running"]
    others = [r for r, s in zip(reads, lasted, strict=True) if s >= faults.NOTICED_S]
    assert len(others) == STREAMS - len(hit) > 0
    assert [r.is_whole for r in others] == [True] * len(others)
    assert max(lasted) > HARD_STOP_S, "no stream was long enough to be cut"
    faults.whole_again(long, victim)
