"""The pacer on streams of plain vLLM, eight tokens a delta: Andes has no part in them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from deployments.engine import CPU_ENV, CPU_KWARGS, KV_CACHE_GIB_ENV
from deployments.processes import free_port
from deployments.tiny_model import ensure_tiny_model
from pacer import Pacer, paced

pytestmark = [pytest.mark.engine, pytest.mark.timeout(480)]

REPO = Path(__file__).parents[2]
README = (REPO / "README.md").read_text("utf-8")
MODEL = "tiny-llama"
START_S = 300.0
TDS = 12.0
TOKENS = 64
TOTAL = {"stream_options": {"include_usage": True}}
EACH = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
IDS = {"extra_body": {"return_token_ids": True}}


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    options = {
        "model": str(ensure_tiny_model()),
        "served-model-name": MODEL,
        "host": "127.0.0.1",
        "port": str(port),
        "max-model-len": "2048",
        "stream-interval": "8",
        "dtype": CPU_KWARGS["dtype"],
        "block-size": str(CPU_KWARGS["block_size"]),
    }
    log = tmp_path_factory.mktemp("vllm") / "log"
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    with log.open("w") as out:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
                *(*arguments, "--enforce-eager"),
            ],
            env=os.environ | CPU_ENV | {KV_CACHE_GIB_ENV: "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_up(server, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60.0)


def wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        assert server.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline_s, log.read_text()[-4000:]
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(1.0)


async def read(base_url: str, more: dict[str, Any]) -> tuple[Pacer, int]:
    """What was read, and in how many deltas the service sent it."""
    sizes: list[int] = []

    async def deltas(client: openai.AsyncOpenAI) -> Any:
        stream = await client.completions.create(
            model=MODEL, prompt="A river", stream=True, max_tokens=TOKENS, **more
        )
        async for chunk in stream:
            sizes.append(sum(len(choice.text) for choice in chunk.choices))
            yield chunk

    async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
        pacer = paced(deltas(client), tds=TDS)
        text = "".join([piece async for piece in pacer])
    # The tiny model writes a letter a token.
    assert len(text) == sum(sizes) == TOKENS
    assert max(sizes) >= 8
    return pacer, len([size for size in sizes if size])


def took_s(at_s: list[float]) -> float:
    return at_s[-1] - at_s[0]


def test_several_tokens_a_delta_are_not_one(base_url: str) -> None:
    pacer, deltas = asyncio.run(read(base_url, {}))
    # Eight letters without meaning are about as many characters as two words' tokens.
    assert len(pacer.log.shown_at_s) > 1.5 * deltas
    assert took_s(pacer.log.shown_at_s) >= 0.9 * (len(pacer.log.shown_at_s) - 1) / TDS


@pytest.mark.parametrize("more", [TOTAL, EACH, IDS], ids=["a total", "totals", "ids"])
def test_whatever_counts_them_makes_the_pace_that_of_the_tokens(
    base_url: str, more: dict[str, Any]
) -> None:
    pacer, _ = asyncio.run(read(base_url, more))
    # What was shown before a total came was paced by the estimate.
    slack_s = 0.5 + 3.0 * took_s(pacer.log.delivered_at_s)
    assert took_s(pacer.log.shown_at_s) == pytest.approx((TOKENS - 1) / TDS, abs=slack_s)


def test_the_example_of_the_readme_writes_the_whole_answer(base_url: str) -> None:
    _, _, section = README.partition("\n## Read it\n")
    (code,) = re.findall(
        r"^```python\n(.*?)^```", section.partition("\n## ")[0], re.M | re.S
    )
    code = code.replace("http://127.0.0.1:8000/v1", base_url)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert len(done.stdout) == 64, done.stderr
