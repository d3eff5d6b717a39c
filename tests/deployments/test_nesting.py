"""Depth is what lies in each other, not what a text is made of."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.nesting import MAX_DEPTH, nests_too_deep

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
