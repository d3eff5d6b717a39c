"""A continuation that could not be exact is refused, and the reason is said."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.continuation import continuation_refusal, obstacle

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
COMPLETION: dict[str, Any] = {"prompt": [1, 2, 3], "stream": True}


@pytest.mark.parametrize("body", [CHAT, COMPLETION])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"n": 1, "logprobs": False, "tools": [], "presence_penalty": 0.0},
        {"logprobs": None, "response_format": {"type": "text"}, "stop": ["."]},
        {"max_tokens": 21, "temperature": 1.0, "seed": 4, "repetition_penalty": 1.1},
    ],
)
def test_a_plain_stream_can_be_continued(body: dict[str, Any], more: Any) -> None:
    assert continuation_refusal(body | more, 20) is None


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"choice": ["a"]}},
        {"logprobs": True},
        {"logprobs": 0},
        {"prompt_logprobs": 0},
        {"echo": True},
        {"presence_penalty": 0.5},
        {"frequency_penalty": -0.5},
        {"bad_words": ["x"]},
        {"use_beam_search": True},
    ],
    ids="-".join,
)
def test_what_depends_on_how_the_answer_began_is_named(more: dict[str, Any]) -> None:
    (name,) = more
    refusal = continuation_refusal(CHAT | more, 20)
    assert refusal is not None
    assert f"20 tokens is refused: {name} is set" in refusal
    assert obstacle(CHAT | more) is not None


def test_several_prompts_are_several_answers() -> None:
    assert obstacle({"prompt": ["a", "b"]}) is not None
    assert obstacle({"prompt": [[1], [2]]}) is not None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (CHAT | {"stream": False}, "set stream to true"),
        ({"prompt": "x"}, "set stream to true"),
        (CHAT | {"max_tokens": 20}, "the answer ended with 20 tokens"),
        (CHAT | {"max_completion_tokens": 3, "max_tokens": 90}, "ended with 3 tokens"),
        ({"input": "x", "stream": True}, "only a chat and a completion"),
    ],
)
def test_what_is_wrong_with_a_continuation_is_said(body: Any, said: str) -> None:
    refusal = continuation_refusal(body, 20)
    assert refusal is not None
    assert said in refusal
