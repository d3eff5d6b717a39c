"""Caps bound what a request asks for, and what it is given where it asks for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qoe import PROFILES, Caps, Expectation, ExpectationError, admit, parse_expectation

READING = PROFILES["reading"].expectation
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "qoe_profile": st.sampled_from(sorted(PROFILES)),
        "qoe_weight": st.floats(0.01, 100.0),
        "qoe_tds": st.floats(0.01, 1000.0),
        "qoe_ttft_s": st.floats(0.01, 600.0),
    },
)
CAPS = st.builds(
    Caps,
    max_weight=st.floats(0.01, 100.0),
    max_tds=st.floats(0.01, 1000.0),
    min_ttft_s=st.floats(0.01, 600.0),
)
DEFAULTS = st.builds(
    Expectation, ttft_s=st.floats(0.01, 600.0), tds=st.floats(0.01, 1000.0)
)


@given(FIELDS, DEFAULTS, CAPS, st.none() | st.sampled_from(sorted(PROFILES)))
def test_nobody_is_granted_more_than_the_caps(
    fields: dict[str, Any], default: Expectation, caps: Caps, profile: str | None
) -> None:
    try:
        added = admit(fields, default, caps, profile)
    except ExpectationError:
        assert fields, "nothing was asked for"
        return
    assert not added.keys() & fields.keys()
    granted = parse_expectation({**fields, **added}, default)
    assert granted == caps.bounded(granted)


@given(FIELDS, DEFAULTS)
def test_without_caps_and_profile_nothing_is_refused_or_added(
    fields: dict[str, Any], default: Expectation
) -> None:
    assert admit(fields, default, Caps()) == {}


@given(CAPS)
def test_who_asks_for_exactly_the_caps_gets_them(caps: Caps) -> None:
    asked = {
        "qoe_weight": caps.max_weight,
        "qoe_tds": caps.max_tds,
        "qoe_ttft_s": caps.min_ttft_s,
    }
    assert admit(asked, READING, caps) == {}


@pytest.mark.parametrize(
    "cap", [{"max_weight": 101}, {"max_tds": float("nan")}, {"min_ttft_s": 0}]
)
def test_a_cap_out_of_its_fields_range_is_refused(cap: dict[str, float]) -> None:
    (name,) = cap
    with pytest.raises(ExpectationError, match=name):
        Caps(**cap)
