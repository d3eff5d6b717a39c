"""Patience on the whole service, two replicas under overload, on both ways to a client."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import Client

CROWD: dict[str, Any] = {
    "prompt": "x" * 1200,
    "max_tokens": 400,
    "stream": True,
    "vllm_xargs": {"qoe_ttft_s": 1.0, "qoe_tds": 50.0},
}
STREAMS, PATIENCE_S = 60, 1.0
# It needs more than half of an engine's memory.
LONG = "x" * 1900
# Nobody watches it: readers go first.
IMPATIENT = {"qoe_profile": "none", "qoe_patience_s": PATIENCE_S}


def refused(client: Client, path: str, *, stream: bool) -> tuple[int, str, str]:
    """Status, Retry-After and message of an impatient request."""
    prompt: dict[str, Any] = {"prompt": LONG}
    if path == "chat/completions":
        prompt = {"messages": [{"role": "user", "content": LONG}]}
    request = prompt | {"max_tokens": 50, "stream": stream, "vllm_xargs": IMPATIENT}
    with client.open(path, **request) as response:
        body = response.read()
        is_error = response.status_code != httpx.codes.OK
        message = json.loads(body)["error"]["message"] if is_error else body.decode()
        again = response.headers.get("retry-after", "")
        return response.status_code, again, message


def is_full(reports: dict[str, Any]) -> bool:
    return all(r.waiting - r.preempted > 5 for r in reports.values())


def test_who_waits_in_vain_in_direct_streaming_is_refused(direct: Client) -> None:
    require_refusals_and_whole_answers(direct)


def test_who_waits_in_vain_on_the_handle_path_is_refused(handle: Client) -> None:
    require_refusals_and_whole_answers(handle)


def require_refusals_and_whole_answers(client: Client) -> None:
    before = client.total("accepted_total")
    with ThreadPoolExecutor(STREAMS + 4) as pool:
        crowd = [
            pool.submit(partial(client.ask, "completions", **CROWD)) for _ in range(STREAMS)
        ]
        client.until(is_full)
        asks = [
            pool.submit(partial(refused, client, path, stream=stream))
            for path in ("completions", "chat/completions")
            for stream in (False, True)
        ]
        answers = [ask.result() for ask in asks]
        is_over = all(stream.done() for stream in crowd)
        whole = [stream.result() for stream in crowd]
    for status, again, message in answers:
        assert status == 503, message
        assert again.isdigit(), message
        assert 1 <= int(again) <= 60
        assert message.startswith("qoe_patience_s=1: no first token could come within 1 s")
        assert message.endswith(f"try again in {again} s.")
    # They did not wait for the streams before them.
    assert not is_over
    assert [(answer.status, len(answer.text)) for answer in whole] == [(200, 400)] * STREAMS
    # Nobody was asked twice: patience that is over is over everywhere.
    assert client.total("accepted_total") - before == STREAMS + len(answers)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_bad_patience_is_refused_with_its_range(direct: Client, stream: bool) -> None:
    answer = direct.complete(stream=stream, vllm_xargs={"qoe_patience_s": 0})
    assert answer.status == 400
    assert answer.error["param"] == "qoe_patience_s"
    assert "0.01 to 3600 seconds" in answer.error["message"]
