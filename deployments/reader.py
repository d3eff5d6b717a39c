"""What a stream's reader has of it, for a replica that goes on with it. No Ray here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qoe import (
    Expectation,
    expectation_or_default,
    progress_or_fresh,
    resumed_token_ids,
)
from qoe.fields import AGE_FIELD, AGE_RANGE_S, RESUME_FIELD, SLACK_FIELD, SLACK_RANGE_S


class Reader:
    """Counts what is sent to one client, and when it will have been read.

    Args:
        fields: The QoE fields of the client, which may itself go on with a stream.
        default: What a reader expects who says nothing.
        now_s: Monotonic clock.

    Attributes:
        token_ids: Tokens that went to the client since then.
    """

    def __init__(
        self, fields: Mapping[str, object], default: Expectation, now_s: Callable[[], float]
    ) -> None:
        self._expectation = expectation_or_default(fields, default)
        self.token_ids: list[int] = []
        self._now_s = now_s
        progress = progress_or_fresh(fields)
        self._read_until_s = asked_at_s = now_s()
        self._began_at_s = asked_at_s - progress.age_s
        self._received: list[int] = []
        if progress.tokens:
            self._received = list(resumed_token_ids(fields))
            self._read_until_s = progress.read_until_s(self._expectation, asked_at_s)

    def deliver(self, token_ids: Sequence[int]) -> None:
        """These go to the client now."""
        if token_ids:
            self.token_ids += token_ids
            reads_on_at_s = max(self._read_until_s, self._now_s())
            self._read_until_s = reads_on_at_s + len(token_ids) / self._expectation.tds

    def resume_fields(self) -> dict[str, Any]:
        """The QoE fields, beyond the client's, with which another replica goes on."""
        now_s = self._now_s()
        fields: dict[str, Any] = {AGE_FIELD: _within(now_s - self._began_at_s, AGE_RANGE_S)}
        if received := self._received + self.token_ids:
            fields[RESUME_FIELD] = received
            fields[SLACK_FIELD] = _within(self._read_until_s - now_s, SLACK_RANGE_S)
        return fields


def _within(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max(value, low), high)
