"""How much longer an answer will be, learned from those that ended. No vLLM here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Answers remembered: enough for a tail, few enough to follow a change of traffic.
MEMORY = 512
# Until answers have ended, and for those longer than any that did. Mean of the Azure 2023
# conversation trace.
ASSUMED_TOKENS = 200.0
# How many answers the assumption counts for.
_ASSUMED_WEIGHT = 8.0


class AnswerLengths:
    """Mean residual length by tokens so far; the newest `MEMORY` answers count."""

    def __init__(self) -> None:
        self._lengths = np.zeros(MEMORY)
        self._count = 0
        self._ascending: Floats = np.zeros(0)
        self._sum_above: Floats = np.zeros(1)
        self._is_stale = False

    def ended(self, tokens: int) -> None:
        """Learn from an answer that came to its end."""
        self._lengths[self._count % MEMORY] = tokens
        self._count += 1
        self._is_stale = True

    def remaining(self, tokens: Floats) -> Floats:
        """Expected tokens still to come after `tokens`, > 0, shape (n,)."""
        if self._is_stale:
            self._ascending = np.sort(self._lengths[: min(self._count, MEMORY)])
            above = np.cumsum(self._ascending[::-1])[::-1]
            self._sum_above = np.append(above, 0.0)
            self._is_stale = False
        first = np.searchsorted(self._ascending, tokens, side="right")
        count = self._ascending.size - first
        # The assumption is memoryless: it stands for what no answer has shown yet.
        left = self._sum_above[first] - count * tokens + _ASSUMED_WEIGHT * ASSUMED_TOKENS
        remaining: Floats = left / (count + _ASSUMED_WEIGHT)
        return remaining
