"""Requests whose QoE fields no engine can honour, by their parameters. No vLLM here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qoe import (
    Expectation,
    ExpectationError,
    parse_expectation,
    parse_progress,
    resumed_token_ids,
)
from qoe.fields import RESUME_FIELD
from qoe.tenant import parse_tenant


def complaint(
    fields: Mapping[str, object] | None,
    prompt_token_ids: Sequence[int] | None,
    default: Expectation,
) -> str | None:
    """Why a request with these fields cannot be served, in one sentence; None if it can.

    Args:
        fields: `extra_args` of its sampling parameters.
        prompt_token_ids: As the engine got them: a server that continues an answer has
            put its tokens behind the prompt.
        default: What the deployment expects for requests that say nothing.
    """
    if not fields:
        return None
    try:
        parse_expectation(fields, default)
        parse_tenant(fields)
        parse_progress(fields)
        resumed = list(resumed_token_ids(fields))
    except ExpectationError as error:
        return str(error)
    if resumed and list((prompt_token_ids or ())[-len(resumed) :]) != resumed:
        return resume_refusal(len(resumed))
    return None


def resume_refusal(num_resumed: int) -> str:
    """Why a plain vLLM server refuses to go on with an answer of so many tokens."""
    return (
        f"{RESUME_FIELD} with {num_resumed} tokens is refused: "
        "this server does not go on with an answer."
    )
