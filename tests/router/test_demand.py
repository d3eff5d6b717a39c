from types import SimpleNamespace
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.demand import (
    DEFAULT_OUTPUT_TOKENS,
    DEFAULT_PROMPT_TOKENS,
    estimate_demand_tokens,
)

HALF_OUTPUT = DEFAULT_OUTPUT_TOKENS // 2
DEFAULT = DEFAULT_PROMPT_TOKENS + HALF_OUTPUT

BODIES: list[tuple[str, dict[str, Any], int]] = [
    ("text", {"prompt": "x" * 400}, 100 + HALF_OUTPUT),
    ("token ids", {"prompt": list(range(70))}, 70 + HALF_OUTPUT),
    ("texts", {"prompt": ["x" * 40, "x" * 80]}, 30 + 2 * HALF_OUTPUT),
    ("lists of ids", {"prompt": [[1, 2, 3], [4]]}, 4 + 2 * HALF_OUTPUT),
    (
        "chat",
        {"messages": [{"content": "x" * 40}, {"content": "x" * 60}]},
        25 + HALF_OUTPUT,
    ),
    (
        "chat parts",
        {
            "messages": [
                {"content": [{"type": "text", "text": "x" * 40}, "y" * 8]},
                {"content": [{"type": "image_url", "image_url": {"url": "z" * 999}}]},
                {"role": "assistant", "content": None},
            ]
        },
        12 + HALF_OUTPUT,
    ),
    ("limit", {"prompt": "", "max_tokens": 10}, 5),
    (
        "continuation",
        {
            "prompt": list(range(70)),
            "max_tokens": 30,
            "vllm_xargs": {"qoe_resume_token_ids": list(range(20))},
        },
        90 + 5,
    ),
    ("new limit", {"prompt": "", "max_completion_tokens": 20}, 10),
    ("both limits", {"prompt": "", "max_tokens": 9, "max_completion_tokens": 20}, 5),
    ("high limit", {"prompt": "", "max_tokens": 100_000}, HALF_OUTPUT),
    ("bad limit", {"prompt": "", "max_tokens": "10"}, HALF_OUTPUT),
    ("no limit", {"prompt": "", "max_tokens": None}, HALF_OUTPUT),
    ("zero limit", {"prompt": "", "max_tokens": 0}, HALF_OUTPUT),
    ("no prompt", {"input": "x" * 400}, DEFAULT),
    ("empty", {}, DEFAULT),
]


@pytest.mark.parametrize(
    ("body", "tokens"), [b[1:] for b in BODIES], ids=[b[0] for b in BODIES]
)
def test_demand_is_the_prompt_and_half_the_output(
    body: dict[str, Any], tokens: int
) -> None:
    assert estimate_demand_tokens(body) == tokens
    assert estimate_demand_tokens(SimpleNamespace(**body)) == tokens


def test_the_mean_length_of_finished_streams_replaces_the_default() -> None:
    assert estimate_demand_tokens({"prompt": ""}, mean_output_tokens=1000.0) == 500
    limited = {"prompt": "", "max_tokens": 100}
    assert estimate_demand_tokens(limited, mean_output_tokens=1000.0) == 50
    assert estimate_demand_tokens(limited, mean_output_tokens=40.0) == 20


@pytest.mark.parametrize("mean", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_mean_counts_as_unknown(mean: float) -> None:
    assert estimate_demand_tokens({"prompt": ""}, mean_output_tokens=mean) == HALF_OUTPUT


def test_characters_per_token_is_a_setting() -> None:
    body = {"prompt": "x" * 400}
    assert estimate_demand_tokens(body, chars_per_token=2.0) == 200 + HALF_OUTPUT


class ChatRequest(pydantic.BaseModel):
    """As vLLM's, which marks `max_tokens` as deprecated."""

    messages: list[dict[str, Any]]
    max_tokens: int | None = pydantic.Field(default=None, deprecated="use the other")
    max_completion_tokens: int | None = None


@pytest.mark.filterwarnings("error")
def test_the_pydantic_request_of_the_handle_path_is_read_without_a_warning() -> None:
    body = ChatRequest(messages=[{"role": "user", "content": "x" * 40}], max_tokens=100)
    assert estimate_demand_tokens(body) == 10 + 50


def test_reading_a_body_uses_nothing_of_it_up() -> None:
    """pydantic leaves one-shot iterators in a chat request; the engine needs them."""
    parts = iter([{"type": "text", "text": "hello"}])
    body = {"messages": [{"role": "user", "content": parts}]}
    assert estimate_demand_tokens(body) == HALF_OUTPUT
    assert len(list(parts)) == 1


class Hostile:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "body", [None, 7, "text", b"", [], [1], object(), Hostile()], ids=lambda b: repr(b)[:9]
)
def test_what_is_no_request_counts_as_one_of_the_default_size(body: object) -> None:
    assert estimate_demand_tokens(body) == DEFAULT


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["content", "text"]), inner, max_size=2)
    ),
    max_leaves=8,
)
FIELDS = ("messages", "prompt", "max_tokens", "max_completion_tokens")


@given(body=values | st.dictionaries(st.sampled_from(FIELDS), values))
def test_no_body_raises(body: object) -> None:
    assert estimate_demand_tokens(body) >= 0
