"""Replicas and engines die behind the ingress; readers hardly notice."""

from __future__ import annotations

import itertools
import json
import time
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Answer, Client


def longest_gap_s(answer: Answer) -> float:
    return max(b - a for a, b in itertools.pairwise(answer.received_at_s))


@pytest.mark.parametrize(
    ("path", "kill"), [("chat", "kill_replica"), ("complete", "kill_engine")]
)
def test_a_stream_goes_on_through_another_replica(
    faults: Any, pair: Client, at_once: Any, path: str, kill: str
) -> None:
    faults.ready(pair)
    ask = faults.ask_long(getattr(pair, path))
    undisturbed = ask()
    assert undisturbed.usage["completion_tokens"] == faults.LONG
    hit: Future[Answer] = at_once(ask)
    victim = faults.writer(pair)
    untouched: Future[Answer] = faults.elsewhere(
        pair, lambda: at_once(ask), victim["replica_id"]
    )
    getattr(faults, kill)(victim)
    for answer in (hit.result(), untouched.result()):
        assert answer.text == undisturbed.text
        assert answer.usage == undisturbed.usage
        assert len({chunk["id"] for chunk in answer.chunks}) == 1
        said = [json.dumps(chunk) for chunk in answer.chunks]
        assert sum('"role"' in chunk for chunk in said) == (path == "chat")
        assert not any("token_ids" in chunk for chunk in said)
        assert longest_gap_s(answer) < faults.NOTICED_S
    faults.whole_again(pair, victim)


def test_with_all_replicas_full_everybody_is_served_in_the_end(
    faults: Any, pair: Client
) -> None:
    ask = partial(pair.complete, stream=True, max_tokens=150, vllm_xargs=faults.READER)
    answers = pair.all_at_once([ask] * 30)
    assert [len(answer.text) for answer in answers] == [150] * 30


def test_who_waits_with_comments_is_served_by_another_replica(
    faults: Any, handle: Client, at_once: Any
) -> None:
    faults.ready(handle)
    request: dict[str, Any] = {"prompt": "x" * 1200, "max_tokens": 600, "stream": True}
    undisturbed = handle.complete(**request | {"temperature": 0.0}).text
    waits: list[float] = []

    def read(salt: str) -> str:
        text = ""
        # Nobody shares the memory of another one's prompt.
        salted = request | {"temperature": 0.0, "cache_salt": salt}
        with handle.open("completions", **salted) as response:
            assert response.status_code == 200
            for line in response.iter_lines():
                if line.startswith(":") and not text:
                    waits.append(time.monotonic())
                if line.startswith("data: {"):
                    (choice,) = json.loads(line.removeprefix("data: "))["choices"]
                    text += choice["text"]
        return text

    streams = [at_once(read, str(number)) for number in range(30)]
    # Some wait with nothing but a comment, and most of the others for a first one.
    faults.eventually(lambda: len(waits) >= 4)
    victim = faults.writer(handle)
    faults.kill_replica(victim)
    assert [stream.result() for stream in streams] == [undisturbed] * len(streams)
    faults.whole_again(handle, victim)
