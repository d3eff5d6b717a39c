"""Two parts of an answer are the whole one: a real engine, started once, on CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

PROMPT = [10 + (7 * i) % 180 for i in range(140)]


class Part(NamedTuple):
    """What one engine wrote of an answer; `ends` has the tokens up to each text."""

    token_ids: list[int]
    texts: list[str]
    ends: list[int]
    prompt_tokens: int
    finish_reason: str | None

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def head(self, cut: int) -> tuple[list[int], str]:
        """What had come once `cut` tokens had; a slow reader gets several at once."""
        count = next(i for i, end in enumerate(self.ends, 1) if end >= cut)
        return self.token_ids[: self.ends[count - 1]], "".join(self.texts[:count])


class Asker:
    """Numbers requests, and asks for the text as it is written."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._llm = llm
        self._count = 0

    async def __call__(self, resumed: list[int] | None = None, **params: Any) -> Part:
        self._count += 1
        fields = {"qoe_resume_token_ids": resumed, "qoe_age_s": 2.0} if resumed else None
        sampling = SamplingParams(
            output_kind=RequestOutputKind.DELTA,
            extra_args=fields,
            **{"temperature": 0.0, "max_tokens": 60, "ignore_eos": True, **params},
        )
        prompt = {"prompt_token_ids": PROMPT}
        ids, texts, ends, prompt_tokens, reason = [], [], [], 0, None
        async for output in self._llm.generate(prompt, sampling, f"r{self._count}"):
            (answer,) = output.outputs
            ids += answer.token_ids
            texts.append(answer.text)
            ends.append(len(ids))
            prompt_tokens, reason = len(output.prompt_token_ids), answer.finish_reason
        return Part(ids, texts, ends, prompt_tokens, reason)


@pytest_asyncio.fixture(loop_scope="module")
async def ask(llm: AsyncLLM) -> Asker:
    return Asker(llm)


async def broken_off(ask: Asker, cut: int, **params: Any) -> tuple[Part, list[int], str]:
    """A whole answer, and the tokens and the text of a head that ends before it does.

    Whoever reads slowly gets the end with it, and is asked to read again.
    """
    for _ in range(50):
        whole = await ask(**params)
        tokens, text = whole.head(cut)
        if len(tokens) < len(whole.token_ids):
            return whole, tokens, text
    raise AssertionError(f"token {cut} never came before the end")


@pytest.mark.parametrize("cut", [1, 17, 59])
async def test_a_continuation_goes_on_token_for_token(ask: Asker, cut: int) -> None:
    whole, tokens, text = await broken_off(ask, cut)
    rest = await ask(tokens)
    assert tokens + rest.token_ids == whole.token_ids
    assert text + rest.text == whole.text
    assert rest.finish_reason == whole.finish_reason == "length"
    assert rest.prompt_tokens == whole.prompt_tokens == len(PROMPT)


@pytest.mark.parametrize("included", [False, True])
@pytest.mark.parametrize("cut", [25, 28, 29, 31])
async def test_a_stop_string_across_the_cut_ends_the_answer_where_it_did(
    ask: Asker, cut: int, included: bool
) -> None:
    text = (await ask()).text
    stop = {"stop": [text[26:32], "nowhere"], "include_stop_str_in_output": included}
    whole, tokens, said = await broken_off(ask, cut, **stop)
    assert whole.finish_reason == "stop"
    rest = await ask(tokens, **stop)
    assert said + rest.text == whole.text
    assert rest.finish_reason == "stop"


async def test_min_tokens_counts_from_the_beginning_of_the_answer(ask: Asker) -> None:
    whole = await ask()
    for least in (20, 40):
        stop = {"stop_token_ids": whole.token_ids, "min_tokens": least}
        stopped = await ask(**stop)
        assert len(stopped.token_ids) == least + 1
        rest = await ask(stopped.token_ids[:15], **stop)
        assert stopped.token_ids[:15] + rest.token_ids == stopped.token_ids


async def test_a_character_across_the_cut_is_written_once_and_the_prompt_never(
    ask: Asker, llm: AsyncLLM
) -> None:
    tokenizer = llm.renderer.tokenizer
    half = tokenizer.encode("é", add_special_tokens=False)[:1]
    rest = await ask(half, max_tokens=20)
    assert rest.text == tokenizer.decode(half + rest.token_ids)


@pytest.mark.parametrize(
    ("resumed", "params", "said"),
    [
        ([320], {}, "token 320: it must be from 0 to 319"),
        ([5] * 60, {}, "60 tokens: the answer ended with 60"),
        ([5], {"n": 2, "temperature": 1.0}, "continues one answer"),
    ],
)
async def test_what_cannot_be_continued_is_refused_and_the_engine_lives(
    ask: Asker, resumed: list[int], params: dict[str, Any], said: str
) -> None:
    with pytest.raises(VLLMValidationError, match=said):
        await ask(resumed, **params)
    assert len((await ask(max_tokens=3)).token_ids) == 3


async def test_an_answer_that_had_ended_is_not_continued(ask: Asker) -> None:
    whole = await ask()
    with pytest.raises(VLLMValidationError, match="the answer ended there"):
        await ask(whole.token_ids[:30], stop=[whole.text[10:14]])
