"""Settings of the router, as `request_router_kwargs` of a Serve config carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MAX_SECONDS = 3600.0
MAX_CHARS_PER_TOKEN = 100.0


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Every knob of `QoERequestRouter`, with its unit and its default.

    Attributes:
        max_report_age_s: Beyond this a busy replica's report says nothing any more.
        ledger_ttl_s: How long a stream that nobody answers for counts as on its way.
        chars_per_token: To tell prompt tokens from text without a tokenizer.
        seed: Of the random choice between equals; None draws one.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    max_report_age_s: float = 10.0
    ledger_ttl_s: float = 10.0
    chars_per_token: float = 4.0
    seed: int | None = None

    def __post_init__(self) -> None:
        _require_number("max_report_age_s", self.max_report_age_s, MAX_SECONDS)
        _require_number("ledger_ttl_s", self.ledger_ttl_s, MAX_SECONDS)
        _require_number("chars_per_token", self.chars_per_token, MAX_CHARS_PER_TOKEN)
        if self.seed is not None and type(self.seed) is not int:
            raise ValueError(f"seed={self.seed!r} is invalid: it must be an int or null.")

    @classmethod
    def from_kwargs(cls, kwargs: Mapping[str, Any]) -> RouterSettings:
        """The settings in `kwargs`, with defaults for the rest.

        Raises:
            ValueError: An unknown key or a value out of range; the message names both.
        """
        known = [f.name for f in fields(cls)]
        for key, value in kwargs.items():
            if key not in known:
                raise ValueError(
                    f"{key}={value!r} is no setting of the router: "
                    f"there are {', '.join(known)}."
                )
        return cls(**kwargs)


def _require_number(name: str, value: Any, maximum: float) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and 0 < value <= maximum):
        raise ValueError(
            f"{name}={value!r} is invalid: "
            f"it must be a number above 0 and at most {maximum:g}."
        )
