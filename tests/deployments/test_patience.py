"""Patience on a real engine on CPU, with the client that replicas give theirs."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from deployments.patience import OutOfPatienceError

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
    loop = asyncio.get_running_loop()
    asked_at_s = loop.time()
    with pytest.raises(OutOfPatienceError, match=r"qoe_patience_s=0\.7: no first") as error:
        await ask(kind, qoe_patience_s=0.7)
    assert 0.6 < loop.time() - asked_at_s < 3.0
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
