"""The Andes policy: who holds KV memory in the next iteration. Pure: same in, same out.

The knapsack of the paper (section 4), taken from where the engine stands: the running
streams are in, the waiting ones ask for room, and a running stream is given up only for one
that is worth more than it and its resume. Which is the paper's overhead-aware refiner, with
true block weights and greedy packing that skips what does not fit.
"""

from __future__ import annotations

import numpy as np

from scheduler.packing import pack
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Bools, Floats, Ints, Plan, Snapshot

# One step swaps in at most this many streams; the next step may go on. It bounds both the
# planner's time and what a wrong forecast can do.
MAX_SWAPS = 8


def under_pressure(snapshot: Snapshot) -> bool:
    """Whether the waiting streams do not all fit beside the running ones."""
    waiting = snapshot.gain.size - snapshot.num_running
    demand = int(snapshot.blocks[snapshot.num_running :].sum())
    return demand > snapshot.free_blocks or waiting > (
        snapshot.max_running - snapshot.num_running
    )


def plan(snapshot: Snapshot, settings: SchedulerSettings) -> Plan:
    """Which waiting streams to admit, whom to preempt for them, and whom to keep.

    Urgent streams take the free blocks first, then the blocks of victims; streams that can
    wait get what is left, so that the engine never idles for want of urgency.
    """
    running = snapshot.num_running
    order = by_value(snapshot)
    asking = order[order >= running]
    urgent = asking[snapshot.is_urgent[asking]]
    room = _Room(snapshot, settings)
    room.admit(urgent)
    room.swap_in(urgent)
    room.admit(asking)
    admitted = asking[room.is_admitted[asking]]
    kept = order[(order < running) & ~room.is_preempted[order]]
    return Plan(
        admit=admitted - running, preempt=np.flatnonzero(room.is_preempted), keep=kept
    )


def by_value(snapshot: Snapshot) -> Ints:
    """Indices of all streams, best first: by QoE gain per block, then by least slack.

    Waiting streams that have been kept too long lead, the latest first: the gain of a lost
    cause tends to zero, its reader does not.
    """
    density: Floats = snapshot.gain / np.maximum(snapshot.blocks, 1)
    density[snapshot.is_overdue] = np.inf
    order: Ints = np.lexsort((snapshot.slack_s, -density))
    return order


class _Room:
    """Blocks and seats of one step, as they are given away."""

    def __init__(self, snapshot: Snapshot, settings: SchedulerSettings) -> None:
        self.snapshot = snapshot
        self.is_admitted: Bools = np.zeros(snapshot.gain.size, dtype=np.bool_)
        self.is_preempted: Bools = np.zeros(snapshot.gain.size, dtype=np.bool_)
        # Running streams keep room to grow.
        growth = (snapshot.blocks - snapshot.blocks_held)[: snapshot.num_running]
        self._blocks = snapshot.free_blocks - int(growth.sum())
        self._seats = snapshot.max_running - snapshot.num_running
        self._is_victim = snapshot.may_preempt & (
            snapshot.slack_s >= settings.min_victim_slack_s
        )
        self._loss: Floats = snapshot.gain + snapshot.resume_s * snapshot.harm_per_s

    def admit(self, asking: Ints) -> None:
        """Admit what fits, in order."""
        asking = asking[~self.is_admitted[asking]]
        taken = pack(asking, self.snapshot.blocks, self._blocks, self._seats)
        self._take(np.flatnonzero(taken))

    def swap_in(self, urgent: Ints) -> None:
        """Admit the best of `urgent` that are worth more than the victims they need."""
        if not self._is_victim.any():
            return
        for stream in urgent[~self.is_admitted[urgent]][:MAX_SWAPS]:
            victims = self._victims_for(int(self.snapshot.blocks[stream]))
            worth = self.snapshot.is_overdue[stream] or (
                self.snapshot.gain[stream] > self._loss[victims].sum()
            )
            if victims.size and worth:
                self._give_up(victims)
                self._take(np.array([stream]))

    def _victims_for(self, blocks: int) -> Ints:
        """The victims that cost least and make room for a stream; empty if there are none.

        One victim that is large enough, else the cheapest per block until it is enough.
        """
        victims = np.flatnonzero(self._is_victim)
        held, loss = self.snapshot.blocks[victims], self._loss[victims]
        missing = blocks - self._blocks
        enough = np.flatnonzero(held >= missing)
        if enough.size:
            return victims[enough[[np.argmin(loss[enough])]]]
        cheapest = np.argsort(loss / np.maximum(held, 1), kind="stable")
        freed = np.cumsum(held[cheapest])
        count = int(np.searchsorted(freed, missing)) + 1
        return victims[cheapest[:count]] if count <= victims.size else victims[:0]

    def _give_up(self, victims: Ints) -> None:
        self.is_preempted[victims] = True
        self._is_victim[victims] = False
        self._blocks += int(self.snapshot.blocks[victims].sum())
        self._seats += victims.size

    def _take(self, streams: Ints) -> None:
        self.is_admitted[streams] = True
        self._blocks -= int(self.snapshot.blocks[streams].sum())
        self._seats -= streams.size
