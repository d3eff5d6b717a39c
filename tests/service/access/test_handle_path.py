"""A key is asked for before Serve's ingress looks at a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.service.conftest import Client


def test_strangers_are_kept_out_and_nobody_is_kept_waiting(
    handle: Client, holds: Callable[[Any], None]
) -> None:
    holds(handle)
