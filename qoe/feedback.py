"""What a reader's client says of itself while its stream runs: state, no deltas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qoe.expectation import TDS_RANGE, ExpectationError, require_in_range

BUFFER_FIELD = "buffer_tokens"
PAUSED_FIELD = "paused"
PACE_FIELD = "tds"
FEEDBACK_FIELDS = (BUFFER_FIELD, PAUSED_FIELD, PACE_FIELD)
BUFFER_RANGE_TOKENS = (0.0, 1e6)
# A pause that nobody repeats is over after this: the word that ended it may be lost.
PAUSE_HOLDS_S = 60.0


@dataclass(frozen=True, slots=True)
class Feedback:
    """The state of a reader; None is what was not said, and stays as it was.

    Attributes:
        buffer_tokens: Tokens that it has received and not read.
        paused: Whether it reads nothing for now.
        tds: How fast it reads from now on, tokens/s.

    Raises:
        ExpectationError: A value is no number within `BUFFER_RANGE_TOKENS` or `TDS_RANGE`.
    """

    buffer_tokens: float | None = None
    paused: bool | None = None
    tds: float | None = None

    def __post_init__(self) -> None:
        if self.buffer_tokens is not None:
            limits = BUFFER_RANGE_TOKENS
            require_in_range(BUFFER_FIELD, self.buffer_tokens, limits, "tokens")
        if self.tds is not None:
            require_in_range(PACE_FIELD, self.tds, TDS_RANGE, "tokens/s")

    def after(self, earlier: Feedback) -> Feedback:
        """Both words as one: what this one does not say is what `earlier` says."""
        return Feedback(
            earlier.buffer_tokens if self.buffer_tokens is None else self.buffer_tokens,
            earlier.paused if self.paused is None else self.paused,
            earlier.tds if self.tds is None else self.tds,
        )


def parse_feedback(body: object) -> Feedback:
    """The feedback in a parsed JSON body.

    Raises:
        ExpectationError: It is no object, says nothing, has another field, or a value of
            another type or out of range.
    """
    if not isinstance(body, Mapping):
        raise ExpectationError("body", body, "a JSON object")
    for name, value in body.items():
        if name not in FEEDBACK_FIELDS:
            raise ExpectationError(
                name, value, f"one of the fields {', '.join(FEEDBACK_FIELDS)}"
            )
    if not body:
        said = " or ".join(FEEDBACK_FIELDS)
        raise ExpectationError("body", body, f"an object with {said}")
    buffer_tokens, tds = body.get(BUFFER_FIELD), body.get(PACE_FIELD)
    if BUFFER_FIELD in body:
        limits = BUFFER_RANGE_TOKENS
        buffer_tokens = require_in_range(BUFFER_FIELD, buffer_tokens, limits, "tokens")
    if PACE_FIELD in body:
        tds = require_in_range(PACE_FIELD, tds, TDS_RANGE, "tokens/s")
    paused = body.get(PAUSED_FIELD)
    if PAUSED_FIELD in body and not isinstance(paused, bool):
        raise ExpectationError(PAUSED_FIELD, paused, "true or false")
    return Feedback(buffer_tokens, paused, tds)
