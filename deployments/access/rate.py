"""How many requests a second somebody may send."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class TokenBucket:
    """Lets `rate_per_s` requests a second through, and a second's worth of them at once.

    Invariants:
        From any moment on, at most `burst + rate_per_s * t` pass within `t` seconds.
        A refused request costs nothing: whoever keeps asking gets the rate all the same.
    """

    def __init__(
        self,
        rate_per_s: float,
        burst: float | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = max(1.0, rate_per_s if burst is None else burst)
        self._now_s = now_s
        self._left = self._burst
        self._at_s = now_s()

    def take(self) -> float:
        """0 if a request may pass now, else the seconds until one may."""
        now_s = self._now_s()
        gained = (now_s - self._at_s) * self._rate_per_s
        self._left = min(self._burst, self._left + gained)
        self._at_s = now_s
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._rate_per_s

    def give_back(self) -> None:
        """A request that passed has cost nothing after all."""
        self._left = min(self._burst, self._left + 1.0)


def retry_after_s(wait_s: float) -> int:
    """`wait_s` as the header `Retry-After` takes it: whole seconds, at least one."""
    return max(1, math.ceil(wait_s))
