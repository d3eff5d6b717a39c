"""Readers' words on their way into the live streams, between two steps of the engine."""

from __future__ import annotations

import os
from typing import Protocol, Self

import numpy as np

from qoe import Feedback
from scheduler.live_streams import LiveStreams
from scheduler.settings import FEEDBACK_ENDPOINT_ENV
from telemetry.feedback import FeedbackReceiver

# Looking costs some microseconds, and a step may be a few milliseconds long.
PERIOD_S = 0.05


class Source(Protocol):
    """Where words come from."""

    def take(self) -> list[tuple[str, Feedback]]:
        """Those that wait; never blocks, never raises."""

    def close(self) -> None:
        """Nothing more is wanted."""


class FeedbackIntake:
    """What clients say of their readers.

    Args:
        source: None where nobody says anything.
    """

    def __init__(self, source: Source | None) -> None:
        self._source = source
        self._look_at_s = -np.inf

    @classmethod
    def from_environment(cls) -> Self:
        """With the endpoint that the replica gave this engine process, if it did."""
        endpoint = os.environ.get(FEEDBACK_ENDPOINT_ENV)
        return cls(FeedbackReceiver(endpoint) if endpoint else None)

    def deliver(self, streams: LiveStreams, now_s: float) -> None:
        """Tell `streams` what has come, and what time it is for readers who are away."""
        streams.hold(now_s)
        if self._source is None or now_s < self._look_at_s:
            return
        self._look_at_s = now_s + PERIOD_S
        if told := self._source.take():
            streams.on_feedback(told, now_s)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
