"""When to plan again: every step would be too dear, and change too little."""

from __future__ import annotations

import numpy as np

from scheduler.live_streams import LiveStreams


class PlanClock:
    """Plans are due when streams come, go or lose their memory, and every so often.

    Between plans the same streams stay on offer and the same ones stay withheld.

    Args:
        period_s: Longest time between plans while streams run.

    Attributes:
        planned_at_s: Time of the last plan.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._seen: tuple[int, ...] = ()
        self._is_expired = False
        self.planned_at_s = -np.inf

    def is_due(
        self, now_s: float, streams: LiveStreams, num_skipped: int, *, idle: bool
    ) -> bool:
        """Whether to plan now, which is then taken as done; `idle`: nothing runs."""
        state = (
            streams.accepted_total,
            streams.finished_total,
            streams.preemptions_total,
            num_skipped,
        )
        changed = state != self._seen
        self._seen = state
        is_over = self._is_expired or now_s - self.planned_at_s >= self._period_s
        if not (changed or idle or is_over):
            return False
        self._is_expired = False
        self.planned_at_s = now_s
        return True

    def expire(self) -> None:
        """Plan before the next step, whatever happens until then."""
        self._is_expired = True
