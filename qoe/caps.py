"""The most that a request may ask for: whoever pays for the engine says it, not clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from qoe.expectation import (
    TDS_RANGE,
    TTFT_RANGE_S,
    WEIGHT_RANGE,
    Expectation,
    ExpectationError,
    require_in_range,
)
from qoe.fields import (
    PROFILE_FIELD,
    TDS_FIELD,
    TTFT_FIELD,
    WEIGHT_FIELD,
    parse_expectation,
)


@dataclass(frozen=True, slots=True)
class Caps:
    """What a client may claim of its reader, beyond the ranges of the fields.

    Attributes:
        max_weight: Readers that one may count for.
        max_tds: Fastest pace, tokens/s.
        min_ttft_s: Shortest expected TTFT, seconds.
        where: Who set them, for the sentence that refuses: `WHERE.max_weight`.

    Raises:
        ExpectationError: A cap is not a finite number within the range of its field.
    """

    max_weight: float = WEIGHT_RANGE[1]
    max_tds: float = TDS_RANGE[1]
    min_ttft_s: float = TTFT_RANGE_S[0]
    where: str = "args.caps"

    def __post_init__(self) -> None:
        require_in_range("max_weight", self.max_weight, WEIGHT_RANGE, "readers")
        require_in_range("max_tds", self.max_tds, TDS_RANGE, "tokens/s")
        require_in_range("min_ttft_s", self.min_ttft_s, TTFT_RANGE_S, "seconds")

    def require_weight(self, field: str, weight: float, said: object) -> None:
        """Refuse a `weight` above the cap; `said` is what the client wrote in `field`."""
        limits = (WEIGHT_RANGE[0], self.max_weight)
        self._require(field, weight, said, limits, "readers", "max_weight")

    def require_pace(self, field: str, tds: float, said: object) -> None:
        """Refuse a pace above the cap, tokens/s."""
        limits = (TDS_RANGE[0], self.max_tds)
        self._require(field, tds, said, limits, "tokens/s", "max_tds")

    def require_ttft(self, field: str, ttft_s: float, said: object) -> None:
        """Refuse an expected TTFT below the cap, seconds."""
        limits = (self.min_ttft_s, TTFT_RANGE_S[1])
        self._require(field, ttft_s, said, limits, "seconds", "min_ttft_s")

    def bounded(self, expectation: Expectation) -> Expectation:
        """`expectation` as far as the caps allow it, for what no client has asked for."""
        return replace(
            expectation,
            ttft_s=max(expectation.ttft_s, self.min_ttft_s),
            tds=min(expectation.tds, self.max_tds),
            weight=min(expectation.weight, self.max_weight),
        )

    def _require(
        self,
        field: str,
        value: float,
        said: object,
        limits: tuple[float, float],
        unit: str,
        cap: str,
    ) -> None:
        low, high = limits
        if not low <= value <= high:
            raise ExpectationError(
                field,
                said,
                f"from {low:g} to {high:g} {unit} here; the operator sets that limit with "
                f"{self.where}.{cap}",
            )


def admit(
    fields: Mapping[str, object],
    default: Expectation,
    caps: Caps,
    profile: str | None = None,
) -> dict[str, object]:
    """Check the QoE fields of a request, and say which ones to add to them.

    What a client asks for is refused beyond the caps. What it leaves open is `profile`, or
    else the default, as far as the caps allow.

    Args:
        fields: The request's `vllm_xargs`.
        default: The deployment's expectation for requests that say nothing.
        caps: Of whoever asks.
        profile: Instead of the default for whoever asks; None for the default.

    Returns:
        Fields that have the engine expect what is left open; mostly none.

    Raises:
        ExpectationError: As `parse_expectation`, or a value beyond the caps.
    """
    asked = parse_expectation(fields, default)
    said = fields.get(PROFILE_FIELD)
    for field, value, require in (
        (WEIGHT_FIELD, asked.weight, caps.require_weight),
        (TDS_FIELD, asked.tds, caps.require_pace),
        (TTFT_FIELD, asked.ttft_s, caps.require_ttft),
    ):
        if field in fields:
            require(field, value, fields[field])
        elif said is not None:
            require(PROFILE_FIELD, value, said)
    added: dict[str, object] = {}
    if profile is not None and said is None:
        added[PROFILE_FIELD] = profile
    granted = parse_expectation({**fields, **added}, default)
    bounded = caps.bounded(granted)
    for field, given, allowed in (
        (WEIGHT_FIELD, granted.weight, bounded.weight),
        (TDS_FIELD, granted.tds, bounded.tds),
        (TTFT_FIELD, granted.ttft_s, bounded.ttft_s),
    ):
        if given != allowed:
            added[field] = allowed
    return added
