"""What serving each stream is worth, what giving it up costs, and who is owed what."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from scheduler.policies.objective import gain
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Bools, Floats, Ints, Snapshot


class Value:
    """Derived columns of a snapshot, shape (n,), each computed when first asked for.

    Attributes:
        gain: Objective won by serving the stream over the horizon.
        loss: Objective lost by giving it up: its gain, and what its rebuild costs all.
        is_urgent: Its reader notices before it could start, or soon after.
        is_fresh: Waits for its first token, and is worth a promise.
        is_promised: Waits, has a reader who has begun, and is urgent.
        is_overdue: Waits, and is late beyond `max_late_s`.
        is_victim: Running, and can be given up without anybody noticing soon.
        is_lender: A victim for a new reader's sake: its memory is free for long enough to
            be worth a rebuild.
    """

    def __init__(self, snapshot: Snapshot, settings: SchedulerSettings) -> None:
        self.snapshot = snapshot
        self.settings = settings
        self.is_running: Bools = snapshot.is_running
        self._tokens_per_s = 1.0 / snapshot.step_time.step_s(max(snapshot.num_running, 1))
        forecast = snapshot.forecast
        self._served = forecast.served(snapshot.start_delay_s, self._tokens_per_s)
        self.gain: Floats = gain(
            self._served, forecast.waiting(), snapshot.weight, settings.objective
        )
        self.is_urgent: Bools = (
            snapshot.slack_s <= snapshot.start_delay_s + settings.urgency_s
        )
        self.is_promised: Bools = snapshot.started & self.is_urgent & ~self.is_running

    @cached_property
    def loss(self) -> Floats:
        """See the class; the harm of a second of engine time is summed over everybody."""
        snapshot = self.snapshot
        if not snapshot.resume_s.any():
            return self.gain
        later_s = snapshot.start_delay_s + 1.0
        later = snapshot.forecast.served(later_s, self._tokens_per_s)
        harm_per_s = float((snapshot.weight * (self._served - later)).sum())
        loss: Floats = self.gain + snapshot.resume_s * harm_per_s
        return loss

    @cached_property
    def is_overdue(self) -> Bools:
        late_s = -self.snapshot.slack_s
        overdue: Bools = ~self.is_running & (late_s > self.settings.max_late_s)
        return overdue

    @cached_property
    def is_victim(self) -> Bools:
        snapshot, settings = self.snapshot, self.settings
        victim: Bools = (
            self.is_running
            & snapshot.can_free
            & (snapshot.slack_s >= settings.min_victim_slack_s)
            & (snapshot.since_s >= settings.min_residency_s)
            & ((snapshot.preemptions < settings.max_preemptions) | snapshot.is_away)
        )
        return victim

    @cached_property
    def is_lender(self) -> Bools:
        snapshot = self.snapshot
        is_worth_it = snapshot.slack_s >= self.settings.min_rebuild_slack_s
        lender: Bools = self.is_victim & (is_worth_it | (snapshot.resume_s <= 0.0))
        return lender

    @cached_property
    def order(self) -> Ints:
        """Everybody, best first: by gain per KV block, then by least slack."""
        density = self.gain / np.maximum(self.snapshot.blocks, 1)
        order: Ints = np.lexsort((self.snapshot.slack_s, -density))
        return order

    @cached_property
    def is_fresh(self) -> Bools:
        fresh: Bools = (
            self.is_urgent
            & ~self.is_running
            & ~self.snapshot.started
            & (self.gain >= self.settings.min_gain)
        )
        return fresh

    @cached_property
    def spare_tokens_per_s(self) -> float:
        """Token rate that is not yet promised to readers who have begun."""
        begun = (self.snapshot.started | self.is_running) & ~self.snapshot.is_away
        promised = float(self.snapshot.forecast.tds[begun].sum())
        return self.settings.promise_share * self.snapshot.tokens_per_s - promised
