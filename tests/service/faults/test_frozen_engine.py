"""An engine that is alive and does nothing: the hardest to tell from a busy one."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import psutil

if TYPE_CHECKING:
    from conftest import Client


def how_it_ended(client: Client, request: dict[str, Any]) -> int:
    """The code of the error event that a stream ended with; 0 where it was cut."""
    last = ""
    with client.open("completions", **request) as response:
        try:
            for line in response.iter_lines():
                last = line if line and "[DONE]" not in line else last
        except httpx.TransportError:
            return 0
    return int(json.loads(last.removeprefix("data: "))["error"]["code"])


def test_a_frozen_engine_gets_nothing_new_and_goes_on_or_is_replaced(
    faults: Any, direct: Client, at_once: Any
) -> None:
    faults.ready(direct)
    name, victim = next(iter(faults.replicas(direct).items()))
    engine = faults.engine_of(victim)
    asks = [partial(direct.complete, stream=True, max_tokens=20)] * 8

    def takes_streams() -> bool:
        return bool(faults.replicas(direct)[name]["report"]["accepting"])

    engine.suspend()
    try:
        faults.eventually(lambda: not takes_streams())
        # All answers come while it is frozen: none was asked of it.
        assert [answer.status for answer in direct.all_at_once(asks)] == [200] * 8
        assert engine.status() == psutil.STATUS_STOPPED
    finally:
        engine.resume()
    faults.eventually(takes_streams)

    def has_taken() -> bool:
        direct.all_at_once(asks)
        now = faults.replicas(direct)[name]["report"]["accepted_total"]
        return bool(now > victim["report"]["accepted_total"])

    assert faults.eventually(has_taken)
    request = {
        "stream": True,
        "max_tokens": faults.LONG,
        "temperature": 0.0,
        "vllm_xargs": faults.READER,
        "prompt": "Hello",
    }
    hit = at_once(how_it_ended, direct, request)
    victim = faults.writer(direct)
    engine = faults.engine_of(victim)
    engine.suspend()
    assert hit.result() in (0, 500)
    faults.eventually(lambda: not engine.is_running())
    faults.whole_again(direct, victim)
