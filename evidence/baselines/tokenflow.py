"""TokenFlow: memory goes to the emptiest buffers, and rotates while none runs dry.

From the paper (EuroSys '26, arXiv 2510.02758), section 4:

* 4.2.2: streams are taken greedily while they fit, by what is buffered (φ(b) = e^−b), by
  v · t', then by the reader's pace. The weight v of a token is 1 below a full buffer and t'
  is one average for all, so that buffer and pace decide.
* 4.2.1: a stream may be offloaded when it holds b ≥ μ · r · (τ_evict + τ_load + τ_schedule)
  tokens; as in the example of 4.1, that is asked of those that give way. A schedule lasts
  for a fixed slice.
* 4.3: the paces of the working set may not exceed the throughput Γ. Beyond it, streams are
  served in order of arrival, nobody is preempted and nobody new comes in.

Where the paper is silent or cannot be done here: μ and the length of the slice are given as
tested ranges only. λ and W_max of the working set's size W have no values, and W ≤ M/β
would leave nothing to rotate, so that Γ alone bounds the working set. Γ is the rate of the
recent steps. The gain that adjacent swaps are judged by is not defined; the authors'
development fork (flyinglandlord/sglang) has that search switched off, and so it is left
out. Eviction takes no time, as with the paper's write-through. A stateless policy has no
clock for slices: who is admitted stays for one. While everybody fits, a step is vLLM's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evidence.baselines.room import Room
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Bools, Floats, Ints, Plan, Snapshot

# The paper tests 0.5 to 1.5 s; its authors' code has this.
SLICE_S = 0.5


@dataclass(frozen=True, slots=True)
class TokenFlowPolicy:
    """Rotate KV memory among streams whose buffers outlast their absence.

    Attributes:
        conservativeness: μ, >= 1. The paper tests 1 to 20.
    """

    settings: SchedulerSettings
    conservativeness: ClassVar[float] = 1.0

    def plan(self, snapshot: Snapshot) -> Plan | None:
        if snapshot.has_room:
            return None
        pace = snapshot.forecast.tds
        # Nothing is buffered before the first token, however early it may be.
        buffered_s = np.where(snapshot.started, snapshot.slack_s, 0.0)
        in_set = snapshot.is_running | snapshot.started
        room = Room.of(snapshot, snapshot.max_running)
        if float(pace[in_set].sum()) > snapshot.tokens_per_s:
            return room.plan(_by_arrival(snapshot, in_set), snapshot.is_running)
        # Least buffered first, the faster reader among equals.
        order: Ints = np.lexsort((-pace, buffered_s * pace))
        may_leave = self._may_leave(snapshot, buffered_s)
        return room.plan(
            order[_is_schedulable(snapshot, in_set, order)],
            must_stay=snapshot.is_running & ~may_leave,
        )

    def _may_leave(self, snapshot: Snapshot, buffered_s: Floats) -> Bools:
        """Who had its slice, and has more in its buffer than its absence takes."""
        needed_s = self.conservativeness * (snapshot.resume_s + SLICE_S)
        has_buffer = snapshot.started & (buffered_s >= needed_s)
        allowed: Bools = snapshot.can_free & (snapshot.since_s >= SLICE_S) & has_buffer
        return allowed


def _by_arrival(snapshot: Snapshot, in_set: Bools) -> Ints:
    """The running streams as they stand, then those offloaded, the longest first."""
    offloaded = np.flatnonzero(in_set & ~snapshot.is_running)
    longest_first = np.argsort(-snapshot.since_s[offloaded], kind="stable")
    running: Ints = np.arange(snapshot.num_running)
    return np.concatenate([running, offloaded[longest_first]])


def _is_schedulable(snapshot: Snapshot, in_set: Bools, order: Ints) -> Bools:
    """Whether the engine can carry each stream of `order` with those before it.

    Those of the working set count first: they are in it already.
    """
    is_old, pace = in_set[order], snapshot.forecast.tds
    new_pace = np.where(is_old, 0.0, pace[order])
    total = float(pace[in_set].sum()) + np.cumsum(new_pace)
    schedulable: Bools = is_old | (total <= snapshot.tokens_per_s)
    return schedulable
