"""Least slack first: memory goes to the readers who notice soonest, at its true weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.baselines.room import Room
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Plan, Snapshot

# How long an admitted stream keeps its memory.
MIN_RESIDENCY_S = 1.0


@dataclass(frozen=True, slots=True)
class LqsfPolicy:
    """Fill KV memory by slack, least first; the others give way, most slack first.

    No more running streams leave than those with less slack need room for, and none within
    its minimum residency: two readers who are equally late would swap in every plan.
    """

    settings: SchedulerSettings

    def plan(self, snapshot: Snapshot) -> Plan | None:
        if snapshot.has_room:
            return None
        room = Room.of(snapshot, snapshot.max_running)
        may_leave = snapshot.can_free & (snapshot.since_s >= MIN_RESIDENCY_S)
        order = np.argsort(snapshot.slack_s, kind="stable")
        return room.plan(order, must_stay=snapshot.is_running & ~may_leave)
