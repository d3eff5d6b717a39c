"""Patience on a real engine on CPU, with the client that replicas give theirs."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    ErrorResponse,
)
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from deployments.first_byte import FirstByteMiddleware
from deployments.patience import OutOfPatienceError
from deployments.relay import error_of
from scheduler.patience import retry_after_of

PROMPT_TOKENS, OUTPUT_TOKENS = 500, 1500
# 3,072 tokens: four streams begin, and some are preempted; the others wait.
SCARCE = {"num_gpu_blocks_override": 25, "max_num_seqs": 4}
pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("llm", [SCARCE], indirect=True, ids=["scarce"]),
]


class Asker:
    """Asks for long answers to prompts of their own, and counts those that began."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._llm = llm
        self._count = 0
        self._begun = asyncio.Semaphore(0)

    async def __call__(self, kind: Any = RequestOutputKind.DELTA, **fields: Any) -> int:
        """Tokens of one answer, read to its end."""
        self._count += 1
        name, tokens = f"p{self._count}", 0
        prompt = {"prompt_token_ids": [self._count % 180 + 10] * PROMPT_TOKENS}
        params = SamplingParams(
            temperature=0.0,
            max_tokens=OUTPUT_TOKENS,
            ignore_eos=True,
            output_kind=kind,
            extra_args=fields or None,
        )
        async with aclosing(self._llm.generate(prompt, params, name)) as outputs:
            async for output in outputs:
                if not tokens:
                    self._begun.release()
                tokens += len(output.outputs[0].token_ids)
        return tokens

    async def crowd(self) -> list[asyncio.Task[int]]:
        """Far more clients than the engine can serve, some of whom have begun."""
        tasks = [asyncio.create_task(self()) for _ in range(60)]
        async with asyncio.timeout(60):
            for _ in range(3):
                await self._begun.acquire()
        return tasks


async def leave(llm: AsyncLLM, tasks: list[asyncio.Task[int]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not llm.output_processor.request_states


@pytest.mark.parametrize("kind", [RequestOutputKind.DELTA, RequestOutputKind.FINAL_ONLY])
async def test_who_waits_in_vain_is_refused_when_its_patience_ends(
    llm: AsyncLLM, kind: Any
) -> None:
    ask = Asker(llm)
    tasks = await ask.crowd()
    asked_at_s = time.monotonic()
    with pytest.raises(OutOfPatienceError, match=r"qoe_patience_s=0\.7: no first") as error:
        await ask(kind, qoe_patience_s=0.7)
    assert time.monotonic() - asked_at_s > 0.6
    assert not any(task.done() for task in tasks), "it waited for one before it"
    assert error.value.status_code == 503
    await leave(llm, tasks)


async def test_a_stream_that_begins_within_its_patience_is_whole(llm: AsyncLLM) -> None:
    assert await Asker(llm)(qoe_patience_s=30.0) == OUTPUT_TOKENS


async def test_clients_who_leave_while_they_wait_or_run_make_room_at_once(
    llm: AsyncLLM,
) -> None:
    ask = Asker(llm)
    await leave(llm, await ask.crowd())
    # Had the engine to write another one first, this one would be refused.
    assert await ask(qoe_patience_s=2.0) == OUTPUT_TOKENS


def impatient(path: str, *, stream: bool) -> dict[str, Any]:
    prompt: dict[str, Any] = {"prompt": "x" * PROMPT_TOKENS}
    if path == "chat/completions":
        prompt = {"messages": [{"role": "user", "content": "x" * PROMPT_TOKENS}]}
    fields = {"qoe_patience_s": 0.5, "qoe_profile": "none"}
    return prompt | {"model": "tiny", "stream": stream, "vllm_xargs": fields}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", ["completions", "chat/completions"])
async def test_a_client_of_either_way_gets_503_and_when_to_come_again(
    llm: AsyncLLM, replica_engine: Any, path: str, stream: bool
) -> None:
    engine = replica_engine
    app = FirstByteMiddleware(await engine.build_asgi_app())
    tasks = await Asker(llm).crowd()
    request = impatient(path, stream=stream)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://replica") as http:
        answer = await http.post(f"/v1/{path}", json=request, timeout=60.0)
    assert answer.status_code == 503
    message = answer.json()["error"]["message"]
    assert message.startswith("qoe_patience_s=0.5: no first token could come")
    assert int(answer.headers["retry-after"]) == retry_after_of(message)

    if path == "completions":
        told = engine.completions(CompletionRequest(**request))
    else:
        told = engine.chat(ChatCompletionRequest(**request))
    first = await anext(told)
    if stream:
        error = error_of(first)
    else:
        assert isinstance(first, ErrorResponse)
        error = first.error.model_dump()
    assert error is not None
    assert error["code"] == 503
    assert retry_after_of(error["message"]) is not None
    await told.aclose()
    await leave(llm, tasks)
