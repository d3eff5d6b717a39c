"""Settings of the router, as `request_router_kwargs` of a Serve config carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from qoe import PROFILES, Expectation
from qoe.expectation import named, shown

PolicyName = Literal[
    "round_robin", "pow2", "least_outstanding", "kv_ledger", "remaining_steps", "qoe"
]

MAX_SECONDS = 3600.0
MAX_CHARS_PER_TOKEN = 100.0
MAX_ROUTERS = 10_000
_READER = PROFILES["reading"].expectation
# (lowest, highest); the lowest itself is allowed only where it is in `_FROM_ZERO`.
_RANGES = {
    "max_report_age_s": (0.0, MAX_SECONDS),
    "fresh_report_age_s": (0.0, MAX_SECONDS),
    "ledger_ttl_s": (0.0, MAX_SECONDS),
    "slow_start_s": (0.0, MAX_SECONDS),
    "chars_per_token": (0.0, MAX_CHARS_PER_TOKEN),
    "prefix_precision": (0.0, 1.0),
    "session_epsilon": (0.0, 1.0),
    "min_value": (0.0, 1.0),
    "hold_cost": (0.0, 1.0),
    "max_hold_s": (0.0, 5.0),
    "retry_after_s": (0.0, MAX_SECONDS),
}
_FROM_ZERO = {
    "slow_start_s",
    "prefix_precision",
    "session_epsilon",
    "min_value",
    "max_hold_s",
}


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Every knob of `QoERequestRouter`, with its unit and its default.

    Attributes:
        policy: Who gets the next stream.
        routers: How many routers place streams on these replicas, none seeing what the
            others send. With more than one, two replicas are drawn and the better taken.
        max_report_age_s: Beyond this a busy replica's report says nothing any more.
        fresh_report_age_s: Up to this it is as good as new; beyond it the replica gets
            nothing while another one reports.
        ledger_ttl_s: How long a stream that nobody answers for counts as on its way.
        slow_start_s: How long an engine that just started gets less than its share.
        chars_per_token: To tell prompt tokens from text without a tokenizer.
        prefix_precision: Part of the prompt tokens thought to be cached somewhere that
            really are; 0 forgets about prefixes.
        session_epsilon: QoE that a session may pay for the replica it had last.
        min_value: A sheddable stream that expects less QoE than this is refused.
        hold_cost: A sheddable stream that costs more QoE than this waits for news first.
        max_hold_s: The longest it waits.
        retry_after_s: What a refused stream is told.
        default_ttft_s: Expected time to the first token of a stream that says nothing.
        default_tds: Its expected tokens per second.
        seed: Of the random choice between equals; None draws one.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    max_report_age_s: float = 10.0
    ledger_ttl_s: float = 10.0
    chars_per_token: float = 4.0
    seed: int | None = None
    policy: PolicyName = "qoe"
    routers: int = 1
    fresh_report_age_s: float = 2.0
    slow_start_s: float = 10.0
    prefix_precision: float = 0.8
    session_epsilon: float = 0.1
    min_value: float = 0.3
    hold_cost: float = 0.3
    max_hold_s: float = 0.2
    retry_after_s: float = 5.0
    default_ttft_s: float = _READER.ttft_s
    default_tds: float = _READER.tds

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _require_number(name, getattr(self, name), low, high)
        if self.seed is not None and type(self.seed) is not int:
            raise ValueError(
                f"seed={shown(self.seed)} is invalid: it must be an int or null."
            )
        if type(self.routers) is not int or not 1 <= self.routers <= MAX_ROUTERS:
            raise ValueError(
                f"routers={shown(self.routers)} is invalid: it must be an int from 1 to "
                f"{MAX_ROUTERS}."
            )
        if self.policy not in get_args(PolicyName):
            raise ValueError(
                f"policy={shown(self.policy)} is invalid: it must be one of "
                f"{', '.join(get_args(PolicyName))}."
            )
        Expectation(self.default_ttft_s, self.default_tds)

    @property
    def default_expectation(self) -> Expectation:
        return Expectation(self.default_ttft_s, self.default_tds)

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
                    f"{named(key)}={shown(value)} is no setting of the router: "
                    f"there are {', '.join(known)}."
                )
        return cls(**kwargs)


def _require_number(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    includes_low = name in _FROM_ZERO
    # NaN fails every comparison.
    if is_number and low <= value <= high and (includes_low or value > low):
        return
    bounds = f"of at least {low:g}" if includes_low else f"above {low:g}"
    raise ValueError(
        f"{name}={shown(value)} is invalid: "
        f"it must be a number {bounds} and at most {high:g}."
    )
