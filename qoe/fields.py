"""The QoE fields of a request: flat keys of the OpenAI body's `vllm_xargs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qoe.expectation import (
    PATIENCE_RANGE_S,
    PROFILES,
    TDS_RANGE,
    TTFT_RANGE_S,
    WEIGHT_RANGE,
    Expectation,
    ExpectationError,
    require_in_range,
)
from qoe.progress import FRESH, Progress
from qoe.tenant import SHARE_FIELD, TENANT_FIELD

PREFIX = "qoe_"
PROFILE_FIELD = "qoe_profile"
TTFT_FIELD = "qoe_ttft_s"
TDS_FIELD = "qoe_tds"
WEIGHT_FIELD = "qoe_weight"
PATIENCE_FIELD = "qoe_patience_s"
SHEDDABLE_FIELD = "qoe_sheddable"
RESUME_FIELD = "qoe_resume_token_ids"
AGE_FIELD = "qoe_age_s"
SLACK_FIELD = "qoe_slack_s"
# What a client may say.
CLIENT_FIELDS = (
    PROFILE_FIELD,
    TTFT_FIELD,
    TDS_FIELD,
    WEIGHT_FIELD,
    PATIENCE_FIELD,
    SHEDDABLE_FIELD,
    RESUME_FIELD,
    AGE_FIELD,
    SLACK_FIELD,
)
# The others are the deployment's to say.
FIELDS = (*CLIENT_FIELDS, TENANT_FIELD, SHARE_FIELD)
# Those that say what a reader expects.
EXPECTATION_FIELDS = (PROFILE_FIELD, TTFT_FIELD, TDS_FIELD)
AGE_RANGE_S = (0.0, 3600.0)
SLACK_RANGE_S = (-3600.0, 3600.0)
MAX_TOKEN_ID = 2**31 - 1


def parse_expectation(
    fields: Mapping[str, object] | None, default: Expectation
) -> Expectation:
    """What the reader behind a request expects.

    `qoe_profile` replaces the default, but for its patience; the other fields override one
    value each.
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
    patience_s = default.patience_s
    if PATIENCE_FIELD in given:
        patience_s = require_in_range(
            PATIENCE_FIELD, given[PATIENCE_FIELD], PATIENCE_RANGE_S, "seconds"
        )
    sheddable = given.get(SHEDDABLE_FIELD, False)
    if sheddable not in (True, False):
        raise ExpectationError(SHEDDABLE_FIELD, sheddable, "true or false")
    return Expectation(
        require_in_range(TTFT_FIELD, ttft_s, TTFT_RANGE_S, "seconds"),
        require_in_range(TDS_FIELD, tds, TDS_RANGE, "tokens/s"),
        require_in_range(WEIGHT_FIELD, weight, WEIGHT_RANGE, "readers"),
        patience_s,
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


def reader_or_default(
    fields: Mapping[str, object] | None, default: Expectation, *, is_stream: bool
) -> Expectation:
    """As `expectation_or_default`, for a request as an engine gets it.

    Nobody watches the tokens of an answer that comes in one piece: unless the request says
    what its reader expects, it is work like that of the profile `none`.
    """
    says_what = any(name in (fields or ()) for name in EXPECTATION_FIELDS)
    if not is_stream and not says_what:
        default = replace(PROFILES["none"].expectation, patience_s=default.patience_s)
    return expectation_or_default(fields, default)


def parse_progress(fields: Mapping[str, object] | None) -> Progress:
    """What the reader behind a request has received before it.

    Raises:
        ExpectationError: One of the three fields is not what it must be.
    """
    given = fields or {}
    tokens = len(resumed_token_ids(given))
    age_s = require_in_range(AGE_FIELD, given.get(AGE_FIELD, 0.0), AGE_RANGE_S, "seconds")
    if SLACK_FIELD not in given:
        return Progress(tokens, age_s)
    slack_s = given[SLACK_FIELD]
    return Progress(
        tokens, age_s, require_in_range(SLACK_FIELD, slack_s, SLACK_RANGE_S, "seconds")
    )


def progress_or_fresh(fields: Mapping[str, object] | None) -> Progress:
    """As `parse_progress`, but a bad field means a stream that begins."""
    try:
        return parse_progress(fields)
    except ExpectationError:
        return FRESH


def resumed_token_ids(fields: Mapping[str, object]) -> Sequence[int]:
    """The tokens that the reader has received; empty for a stream that begins.

    Raises:
        ExpectationError: They are not a list of token ids.
    """
    given = fields.get(RESUME_FIELD, ())
    if isinstance(given, (list, tuple)) and all(
        # A bool is an int, and no token.
        type(token) is int and 0 <= token <= MAX_TOKEN_ID
        for token in given
    ):
        return given
    raise ExpectationError(
        RESUME_FIELD, given, f"a list of token ids, integers from 0 to {MAX_TOKEN_ID}"
    )


def is_sheddable(fields: Mapping[str, object]) -> bool:
    """Whether the client would rather be refused than be served badly."""
    # On Serve's handle path vLLM's protocol turns true into 1.
    return fields.get(SHEDDABLE_FIELD) in (True, 1)


def _require_known(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if name not in FIELDS:
            known = ", ".join(CLIENT_FIELDS)
            raise ExpectationError(name, value, f"one of the fields {known}")


def _profile_expectation(name: object) -> Expectation:
    profile = PROFILES.get(name) if isinstance(name, str) else None
    if profile is None:
        raise ExpectationError(PROFILE_FIELD, name, f"one of {', '.join(PROFILES)}")
    return profile.expectation
