"""How many requests a real engine takes, with the client that replicas give theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    ErrorResponse,
)
from vllm.v1.engine.async_llm import AsyncLLM

from deployments.first_byte import FirstByteMiddleware
from scheduler.patience import retry_after_of

LIMIT, TOKENS = 8, 20
SMALL = {"max_num_seqs": 4, "max_num_queued_reqs": LIMIT}
pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("llm", [SMALL], indirect=True, ids=["small"]),
]


@pytest_asyncio.fixture(loop_scope="module")
async def http(replica_engine: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a replica in direct streaming."""
    app: Any = FirstByteMiddleware(await replica_engine.build_asgi_app())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://replica/v1/", timeout=120.0
    ) as client:
        yield client


def request_to(path: str, **more: Any) -> dict[str, Any]:
    prompt: dict[str, Any] = {"prompt": "x" * 50}
    if path == "chat/completions":
        prompt = {"messages": [{"role": "user", "content": "x" * 50}]}
    ending = {"max_tokens": TOKENS, "ignore_eos": True}
    return {"model": "tiny", **prompt, **ending, **more}


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - vLLM has no event for it
            await asyncio.sleep(0.001)


def held(llm: AsyncLLM) -> int:
    return len(llm.output_processor.request_states)


async def fill(llm: AsyncLLM, http: httpx.AsyncClient) -> list[asyncio.Task[Any]]:
    """As many requests as the engine takes."""
    request = request_to("completions", max_tokens=1500)
    tasks = [
        asyncio.create_task(http.post("completions", json=request)) for _ in range(LIMIT)
    ]
    await until(lambda: held(llm) == LIMIT)
    return tasks


async def leave(llm: AsyncLLM, tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: not held(llm))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", ["completions", "chat/completions"])
async def test_a_full_engine_says_so_and_when_to_come_again_on_either_way(
    llm: AsyncLLM, replica_engine: Any, http: httpx.AsyncClient, path: str, stream: bool
) -> None:
    tasks, refused = await fill(llm, http), replica_engine.num_refused
    request = request_to(path, stream=stream)
    answer = await http.post(path, json=request)
    assert answer.status_code == 503
    message = answer.json()["error"]["message"]
    assert message == "The engine is full: it takes 8 requests at a time; try again in 5 s."
    assert answer.headers["retry-after"] == "5"

    if path == "completions":
        told = replica_engine.completions(CompletionRequest(**request))
    else:
        told = replica_engine.chat(ChatCompletionRequest(**request))
    async with aclosing(told):
        first = await anext(told)
    assert isinstance(first, ErrorResponse)
    assert (first.error.code, first.error.message) == (503, message)
    assert held(llm) == LIMIT
    assert replica_engine.num_refused - refused == 2
    await leave(llm, tasks)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", ["messages", "responses"])
async def test_a_full_engine_says_so_where_other_apis_are_spoken(
    llm: AsyncLLM, http: httpx.AsyncClient, path: str, stream: bool
) -> None:
    tasks = await fill(llm, http)
    said = [{"role": "user", "content": "x" * 50}]
    prompt = {"messages": said, "max_tokens": TOKENS}
    if path == "responses":
        prompt = {"input": said, "max_output_tokens": TOKENS}
    answer = await http.post(path, json={"model": "tiny", "stream": stream, **prompt})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["error"]["message"].startswith("The engine is full: ")
    await leave(llm, tasks)


@pytest.mark.parametrize(("stream", "n"), [(False, 1), (True, 1), (True, 3)])
async def test_of_a_flood_the_engine_holds_no_more_and_all_that_it_took_is_whole(
    llm: AsyncLLM, http: httpx.AsyncClient, stream: bool, n: int
) -> None:
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, held(llm))
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    request = request_to("completions", stream=stream, n=n)
    answers = await asyncio.gather(
        *(http.post("completions", json=request) for _ in range(5 * LIMIT))
    )
    watcher.cancel()
    taken = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(taken) >= LIMIT // n
    assert LIMIT - n < most <= LIMIT
    assert refused
    for answer in refused:
        assert answer.status_code == 503
        again_s = retry_after_of(answer.json()["error"]["message"])
        assert answer.headers["retry-after"] == str(again_s)
    for answer in taken:
        assert '"error"' not in answer.text
        assert answer.text.count('"finish_reason":"length"') == n
    assert held(llm) == 0
    assert (await http.post("completions", json=request)).status_code == 200


async def test_who_is_refused_comes_again_when_the_backlog_is_written(
    llm: Any, http: httpx.AsyncClient
) -> None:
    tasks = await fill(llm, http)
    seen = SimpleNamespace(waiting=40, mean_output_tokens=200.0, tokens_per_s=1000.0)
    llm.latest_report = lambda: seen
    answer = await http.post("completions", json=request_to("completions"))
    assert answer.headers["retry-after"] == "8"
    del llm.latest_report
    await leave(llm, tasks)


async def test_more_answers_than_an_engine_holds_are_no_matter_of_time(
    llm: AsyncLLM, http: httpx.AsyncClient
) -> None:
    answer = await http.post("completions", json=request_to("completions", n=LIMIT + 1))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "n"
    assert "n=9 is invalid: this engine holds 8 answers" in answer.text
