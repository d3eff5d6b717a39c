from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qoe import Expectation, expectation_or_default, is_sheddable
from router.request_fields import reader_fields

DEFAULT = Expectation(2.0, 7.0)


def read(body: object) -> tuple[Expectation, bool]:
    fields = reader_fields(body)
    return expectation_or_default(fields, DEFAULT), is_sheddable(fields)


def test_a_request_says_what_its_reader_expects_in_any_form() -> None:
    xargs = {"qoe_ttft_s": 0.5, "qoe_tds": 3.0, "qoe_sheddable": True, "other": 1}
    for body in ({"vllm_xargs": xargs}, SimpleNamespace(vllm_xargs=xargs)):
        assert read(body) == (Expectation(0.5, 3.0), True)


@pytest.mark.parametrize("xargs", [None, {}, [], {"qoe_tds": -1}, {"qoe_other": 1}, {1: 2}])
def test_what_cannot_be_read_counts_as_not_said(xargs: Any) -> None:
    assert read({"vllm_xargs": xargs}) == (DEFAULT, False)


@given(st.recursive(st.none() | st.text() | st.floats(), st.lists))
def test_nothing_raises(body: object) -> None:
    assert read(body) == (DEFAULT, False)
    assert read({"vllm_xargs": body}) == (DEFAULT, False)
