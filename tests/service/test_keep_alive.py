"""Whoever gives up on a silent connection stays: a stream that waits is not silent."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import openai

if TYPE_CHECKING:
    from conftest import Client

STREAMS = 60
# A quick machine serves the first crowds at once: each next one is twice as large.
CROWDS = [STREAMS, 2 * STREAMS, 4 * STREAMS, 8 * STREAMS]
# What aiohttp, proxies and people's patience are often set to.
SILENCE_S = 5.0
PROMPT, TOKENS = "x" * 1200, 200
COMMENT = ": keep-alive"


@dataclass(frozen=True)
class Read:
    """What a client got, and when its first token came."""

    text: str
    comments: int
    first_token_s: float


def read(client: Client, path: str) -> Read:
    prompt: dict[str, Any] = {"prompt": PROMPT}
    if path == "chat/completions":
        prompt = {"messages": [{"role": "user", "content": PROMPT}]}
    request = prompt | {"model": client.service.model, "stream": True}
    request |= {"max_tokens": TOKENS, "temperature": 0.0}
    asked_at_s, first_token_s = time.monotonic(), 0.0
    text, comments = "", 0
    with (
        httpx.Client(trust_env=False, timeout=SILENCE_S, headers=client.headers) as http,
        http.stream("POST", f"{client.service.base_url}/{path}", json=request) as response,
    ):
        assert response.status_code == httpx.codes.OK
        for line in response.iter_lines():
            comments += line == COMMENT
            if not line.startswith("data: {"):
                continue
            (choice,) = json.loads(line.removeprefix("data: "))["choices"]
            said = choice.get("text") or choice.get("delta", {}).get("content") or ""
            if said and not text:
                first_token_s = time.monotonic() - asked_at_s
            text += said
        assert line in {"", "data: [DONE]"}
    return Read(text, comments, first_token_s)


def crowd_of(client: Client, streams: int) -> list[Read]:
    paths = ["completions", "chat/completions"] * (streams // 2)
    with ThreadPoolExecutor(streams) as pool:
        reads = list(pool.map(lambda path: read(client, path), paths))
    assert [len(one.text) for one in reads] == [TOKENS] * streams
    return reads


def require_everybody_stays(client: Client) -> None:
    """Who hears nothing for `SILENCE_S` leaves with an error."""
    for streams in CROWDS:
        reads = crowd_of(client, streams)
        if any(one.comments and one.first_token_s > SILENCE_S for one in reads):
            return
    raise AssertionError("nobody waited for long enough to leave")


def test_in_direct_streaming_nobody_leaves_for_silence(direct: Client) -> None:
    require_everybody_stays(direct)


def test_on_the_handle_path_nobody_leaves_for_silence(handle: Client) -> None:
    require_everybody_stays(handle)


def test_the_sdk_does_not_see_comments(direct: Client) -> None:
    sdk = openai.OpenAI(
        base_url=direct.service.base_url, api_key="none", timeout=SILENCE_S, max_retries=0
    )
    with ThreadPoolExecutor(STREAMS) as pool:
        crowd = [pool.submit(read, direct, "completions") for _ in range(STREAMS - 1)]
        direct.until(lambda rs: all(r.waiting - r.preempted > 5 for r in rs.values()))
        asked_at_s = time.monotonic()
        chunks = sdk.completions.create(
            model=direct.service.model, prompt=PROMPT, max_tokens=20, stream=True
        )
        begun_s = time.monotonic() - asked_at_s
        text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
        assert all(len(one.result().text) == TOKENS for one in crowd)
    assert len(text) == 20
    assert begun_s < SILENCE_S
