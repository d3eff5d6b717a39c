"""Round robin: streams take turns on KV memory, whatever their readers feel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.baselines.room import Room
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Plan, Snapshot

# A turn on KV memory.
QUANTUM_S = 2.0


@dataclass(frozen=True, slots=True)
class RoundRobinPolicy:
    """A turn lasts a quantum; who waited longest is next.

    A turn that is over goes on until somebody needs the room. Turns are taken strictly in
    order: were the next stream skipped whenever it does not fit, a large one would starve
    behind small ones. It waits for at most a quantum, until all turns are over.
    """

    settings: SchedulerSettings

    def plan(self, snapshot: Snapshot) -> Plan | None:
        if snapshot.has_room:
            return None
        room = Room.of(snapshot, snapshot.max_running)
        running = snapshot.num_running
        longest_first = np.argsort(-snapshot.since_s[:running], kind="stable")
        is_over = snapshot.can_free & (snapshot.since_s >= QUANTUM_S)
        over = longest_first[is_over[longest_first]]
        queue = running + np.argsort(-snapshot.since_s[running:], kind="stable")
        leaving = room.num_leaving(queue, over)
        admitted = queue[leaving <= over.size]
        victims = over[: int(leaving[: admitted.size].max(initial=0))]
        kept = longest_first[~np.isin(longest_first, victims)]
        # The engine evicts from the end: whose turn has lasted longest.
        return Plan(admit=admitted - running, preempt=victims, keep=kept[::-1])
