"""One turn of a real engine's loop. No vLLM here."""

from __future__ import annotations

from dataclasses import dataclass

from bench.replay.cost import StepWork


@dataclass(frozen=True, slots=True)
class Step:
    """What a turn did, and how long all of it took.

    Attributes:
        seconds: From the end of the turn before, or the arrival that ended a pause, until
            its tokens were with their readers.
    """

    seconds: float
    work: StepWork
