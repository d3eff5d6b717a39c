"""When to plan again: every step would be too dear, and change too little."""

from __future__ import annotations

import numpy as np

from scheduler.live_streams import LiveStreams

# What a plan may take: every reader of the engine waits for it. Ours takes some
# milliseconds for a thousand streams (`andes replay` shows what it took).
PLAN_BUDGET_S = 0.1
# Part of the engine's time that goes to plans which take longer.
MAX_SLOW_SHARE = 0.05


class PlanClock:
    """Plans are due when streams come, go or lose their memory, and every so often.

    Between plans the same streams stay on offer and the same ones stay withheld. After one
    that took too long there is none for a while.

    Args:
        period_s: Longest time between plans while streams run.

    Attributes:
        planned_at_s: Time of the last plan.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._seen: tuple[int, ...] = ()
        self._rests_until_s = -np.inf
        self.planned_at_s = -np.inf

    def is_due(
        self, now_s: float, streams: LiveStreams, num_skipped: int, *, idle: bool
    ) -> bool:
        """Whether to plan now, which is then taken as done; `idle`: nothing runs."""
        if now_s < self._rests_until_s:
            return False
        state = (
            streams.accepted_total,
            streams.finished_total,
            streams.preemptions_total,
            num_skipped,
        )
        changed = state != self._seen
        self._seen = state
        is_over = now_s - self.planned_at_s >= self._period_s
        if not (changed or idle or is_over):
            return False
        self.planned_at_s = now_s
        return True

    def is_in_time(self, began_s: float, ended_s: float) -> bool:
        """Whether a plan may be carried out that was made between these times."""
        took_s = ended_s - began_s
        if took_s <= PLAN_BUDGET_S:
            return True
        self._rests_until_s = ended_s + took_s / MAX_SLOW_SHARE
        return False
