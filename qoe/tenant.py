"""Who a request belongs to, and how much of a contended engine that one is to get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qoe.expectation import ExpectationError, require_in_range

TENANT_FIELD = "qoe_tenant"
SHARE_FIELD = "qoe_share"
SHARE_RANGE = (0.01, 100.0)
MAX_NAME_CHARS = 128


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whoever shares an engine with others: a key, a user, a session or an address.

    Attributes:
        name: "" for requests that name nobody, who are one tenant together.
        share: Of an engine that others want too, in parts of what a tenant of 1 gets.
    """

    name: str = ""
    share: float = 1.0


NOBODY = Tenant()


def parse_tenant(fields: Mapping[str, object] | None) -> Tenant:
    """Whose request this is.

    Raises:
        ExpectationError: The name is no text of at most 128 characters, or the share is out
            of `SHARE_RANGE`.
    """
    given = fields or {}
    name = given.get(TENANT_FIELD, "")
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARS:
        expected = f"a text of at most {MAX_NAME_CHARS} characters"
        raise ExpectationError(TENANT_FIELD, name, expected)
    share = given.get(SHARE_FIELD, NOBODY.share)
    return Tenant(name, require_in_range(SHARE_FIELD, share, SHARE_RANGE, "shares"))


def tenant_or_nobody(fields: Mapping[str, object] | None) -> Tenant:
    """As `parse_tenant`, but a bad field means nobody in particular."""
    try:
        return parse_tenant(fields)
    except ExpectationError:
        return NOBODY
