"""The QoE fields of a request: flat keys of the OpenAI body's `vllm_xargs`."""

from __future__ import annotations

from collections.abc import Mapping

from qoe.expectation import (
    PROFILES,
    TDS_RANGE,
    TTFT_RANGE_S,
    WEIGHT_RANGE,
    Expectation,
    ExpectationError,
    require_in_range,
)

PREFIX = "qoe_"
PROFILE_FIELD = "qoe_profile"
TTFT_FIELD = "qoe_ttft_s"
TDS_FIELD = "qoe_tds"
WEIGHT_FIELD = "qoe_weight"
SHEDDABLE_FIELD = "qoe_sheddable"
FIELDS = (PROFILE_FIELD, TTFT_FIELD, TDS_FIELD, WEIGHT_FIELD, SHEDDABLE_FIELD)


def parse_expectation(
    fields: Mapping[str, object] | None, default: Expectation
) -> Expectation:
    """What the reader behind a request expects.

    `qoe_profile` replaces the default; the other fields override one value each.
    Keys that do not start with `qoe_` belong to somebody else and are ignored.

    Args:
        fields: The request's `vllm_xargs`, or None.
        default: The deployment's expectation for requests that say nothing.

    Raises:
        ExpectationError: Unknown `qoe_*` name, unknown profile, or a value out of range.
    """
    given = {k: v for k, v in (fields or {}).items() if k.startswith(PREFIX)}
    if not given:
        return default
    _require_known(given)
    base = _profile_expectation(given[PROFILE_FIELD]) if PROFILE_FIELD in given else default
    ttft_s = given.get(TTFT_FIELD, base.ttft_s)
    tds = given.get(TDS_FIELD, base.tds)
    weight = given.get(WEIGHT_FIELD, base.weight)
    sheddable = given.get(SHEDDABLE_FIELD, False)
    if sheddable not in (True, False):
        raise ExpectationError(SHEDDABLE_FIELD, sheddable, "true or false")
    return Expectation(
        require_in_range(TTFT_FIELD, ttft_s, TTFT_RANGE_S, "seconds"),
        require_in_range(TDS_FIELD, tds, TDS_RANGE, "tokens/s"),
        require_in_range(WEIGHT_FIELD, weight, WEIGHT_RANGE, "readers"),
    )


def expectation_or_default(
    fields: Mapping[str, object] | None, default: Expectation
) -> Expectation:
    """As `parse_expectation`, but a bad field means the default.

    For an engine behind a server that has already refused bad fields: it must go on.
    """
    try:
        return parse_expectation(fields, default)
    except ExpectationError:
        return default


def is_sheddable(fields: Mapping[str, object]) -> bool:
    """Whether the client would rather be refused than be served badly."""
    # On Serve's handle path vLLM's protocol turns true into 1.
    return fields.get(SHEDDABLE_FIELD) in (True, 1)


def _require_known(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if name not in FIELDS:
            raise ExpectationError(name, value, f"one of the fields {', '.join(FIELDS)}")


def _profile_expectation(name: object) -> Expectation:
    profile = PROFILES.get(name) if isinstance(name, str) else None
    if profile is None:
        raise ExpectationError(PROFILE_FIELD, name, f"one of {', '.join(PROFILES)}")
    return profile.expectation
