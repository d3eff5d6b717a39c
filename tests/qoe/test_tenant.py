"""Whose a request is, and its share."""

from __future__ import annotations

import pytest

from qoe import ExpectationError
from qoe.tenant import NOBODY, Tenant, parse_tenant, tenant_or_nobody


@pytest.mark.parametrize(
    ("fields", "tenant"),
    [
        (None, NOBODY),
        ({}, NOBODY),
        ({"qoe_tds": 4.8}, NOBODY),
        ({"qoe_tenant": "acme"}, Tenant("acme", 1.0)),
        ({"qoe_tenant": "acme", "qoe_share": 3}, Tenant("acme", 3.0)),
    ],
)
def test_a_request_belongs_to_whom_it_names(fields, tenant) -> None:
    assert parse_tenant(fields) == tenant_or_nobody(fields) == tenant


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"qoe_tenant": 7}, "qoe_tenant=7 is invalid: it must be a text of at most 128"),
        ({"qoe_tenant": "x" * 129}, "it must be a text of at most 128 characters"),
        ({"qoe_share": 0}, "qoe_share=0 is invalid: it must be a number from 0.01 to 100"),
        ({"qoe_share": True}, "qoe_share=True is invalid"),
    ],
)
def test_a_bad_field_is_refused_with_its_range(fields, sentence: str) -> None:
    with pytest.raises(ExpectationError) as error:
        parse_tenant(fields)
    assert sentence in str(error.value)
    assert tenant_or_nobody(fields) == NOBODY
