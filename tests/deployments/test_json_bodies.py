"""Depth is what lies in each other, and JSON is what can be written again."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.exceptions import VLLMValidationError

from deployments.json_bodies import (
    MAX_DEPTH,
    can_be_written,
    misshapen,
    nests_too_deep,
)

JSON = st.recursive(
    st.none() | st.text('[]{}"\\ab') | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{}"\\ab'), inner),
    max_leaves=20,
)


def nested(value: Any, depth: int) -> str:
    return "[" * depth + json.dumps(value) + "]" * depth


@given(JSON, st.booleans())
def test_brackets_in_texts_and_side_by_side_do_not_nest(value: Any, ascii_: bool) -> None:
    text = json.dumps([value] * 200, ensure_ascii=ascii_).encode()
    assert not nests_too_deep(text)


@given(st.text('[]{}"\\ab', max_size=20), st.integers(-3, 3))
def test_the_limit_is_the_depth(text: str, off: int) -> None:
    body = nested(text, MAX_DEPTH + off).encode()
    assert nests_too_deep(body) == (off > 0)
    assert isinstance(json.loads(body), list)


@pytest.mark.parametrize("hostile", [b'"\\', b'\\"', b'["', b'["\\', b'"["', b"[]"])
def test_a_hostile_megabyte_is_judged_in_time_that_grows_with_it(hostile: bytes) -> None:
    def took_s(copies: int) -> float:
        began_s = time.process_time()
        nests_too_deep(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"{" + hostile * copies)
        return time.process_time() - began_s

    # Ten times as much takes a hundred times as long where it is not linear.
    assert took_s(200_000) < 40 * took_s(20_000) + 1.0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_the_depth_is_that_of_the_text_in_any_encoding(encoding: str) -> None:
    # In UTF-16, bytes of quotes and brackets stand in other characters.
    text = '["\\"","' + "字嬀" * 50 + '",'
    assert not nests_too_deep((text + "1]").encode(encoding))
    assert nests_too_deep((text + "[" * 20_000).encode(encoding))


@pytest.mark.parametrize(
    ("body", "can"),
    [
        (b'{"a": NaN}', False),
        (b'{"a": [-Infinity]}', False),
        (b'{"a": 1e999}', False),
        (b'{"a": 1E+999}', False),
        (b"1" + b"0" * 400 + b".5", False),
        (b'{"\\ud800": 1}', False),
        (b'["\xed\xa0\x80"]', False),
        ('["\ud800"]'.encode("utf-16", "surrogatepass"), False),
        (b'{"a": "NaN"}', True),
        (b'["\\ud83d\\ude00"]', True),
        (b"[1e99]", True),
        (b"18446744073709551615", True),
        (b"18446744073709551616", False),
        (b'{"a": [-9223372036854775808]}', True),
        (b'{"a": [-9223372036854775809]}', False),
        (b"1" + b"0" * 400, False),
        ('["é"]'.encode("utf-16"), True),
    ],
)
def test_what_python_reads_beyond_json_or_64_bits_cannot_be_written(
    body: bytes, can: bool
) -> None:
    assert can_be_written(body, json.loads(body)) is can


BODIES: dict[type[BaseModel], dict[str, Any]] = {
    ChatCompletionRequest: {"messages": [{"role": "user", "content": "x"}]},
    CompletionRequest: {"prompt": "x"},
    ResponsesRequest: {"input": "x"},
    AnthropicMessagesRequest: {
        "max_tokens": 2,
        "messages": [{"role": "user", "content": "x"}],
    },
}
WRONG = (0, -1, 1.5, 10**30, "", "x", True, None, [], {}, [0], ["x"], [None], [{}])


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_no_wrong_value_gets_to_a_validator_that_fails(model: type[BaseModel]) -> None:
    for name, value in product(model.model_fields, WRONG):
        body = {"model": "tiny", **BODIES[model], name: value}
        if misshapen(body) is None:
            with suppress(ValueError, VLLMValidationError):
                model.model_validate(body)


def test_what_vllm_can_refuse_by_itself_is_left_to_it() -> None:
    assert misshapen({"tools": None, "structured_outputs": None, "prompt": 0}) is None
    field, why = misshapen({"messages": [], "tools": 5}) or ("", "")
    assert (field, why) == (
        "tools",
        "tools=5 is invalid: it must be a list of tools, or null.",
    )
