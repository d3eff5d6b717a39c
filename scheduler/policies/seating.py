"""Blocks and seats of one step, as they are given away."""

from __future__ import annotations

import numpy as np

from scheduler.policies.packing import pack
from scheduler.policies.value import Value
from scheduler.snapshot import Bools, Ints

# One step swaps in at most this many streams; the next step may go on. It bounds both the
# planner's time and what a wrong forecast can do.
MAX_SWAPS = 8
# Memory of a stream with an empty buffer would otherwise have no price.
MIN_LENT_S = 1.0


class Seating:
    """Who is let in and who is given up for it, kept feasible at every call.

    Attributes:
        is_admitted: Waiting streams let in so far, shape (n,).
        is_preempted: Running streams given up so far, shape (n,).
    """

    def __init__(self, value: Value) -> None:
        self._value = value
        snapshot = value.snapshot
        self._snapshot = snapshot
        self.is_admitted: Bools = np.zeros(snapshot.size, dtype=np.bool_)
        self.is_preempted: Bools = np.zeros(snapshot.size, dtype=np.bool_)
        # Running streams keep room to grow.
        growth = (snapshot.blocks - snapshot.blocks_held)[: snapshot.num_running]
        self._blocks = snapshot.free_blocks - int(growth.sum())
        self._seats = snapshot.max_running - snapshot.num_running
        self._rebuild_budget_s = snapshot.rebuild_budget_s
        self._victims: Ints = np.flatnonzero(value.is_victim)

    def admit(self, asking: Ints) -> None:
        """Let in what fits, in order."""
        if self._blocks <= 0 or self._seats <= 0:
            return
        asking = asking[~self.is_admitted[asking]]
        taken = pack(asking, self._snapshot.blocks, self._blocks, self._seats)
        self._take(np.flatnonzero(taken))

    def keep_promises(self, promised: Ints, max_stall_s: float) -> bool:
        """Let in readers who have begun, in order, whoever must leave for them.

        One that finds no room is passed over, until it has stalled for `max_stall_s`: then
        nobody else comes in before it. A large stream would wait for ever otherwise.

        Returns:
            Whether others may be let in.
        """
        for stream in promised[:MAX_SWAPS]:
            if not self._swap(stream, None):
                late_s = -float(self._snapshot.slack_s[stream])
                if late_s > max_stall_s:
                    return False
        return True

    def displace(self, asking: Ints) -> None:
        """Let in, in order, streams worth more than the victims they need."""
        for stream in asking[~self.is_admitted[asking]][:MAX_SWAPS]:
            if not self._victims.size:
                return
            self._swap(stream, float(self._value.gain[stream]))

    def _swap(self, stream: int, worth: float | None) -> bool:
        """Let one stream in, if the room for it costs less than `worth`; None: any cost."""
        missing = int(self._snapshot.blocks[stream]) - self._blocks
        victims = self._victims[:0]
        if missing > 0 or self._seats <= 0:
            victims = self._victims
            if worth is not None:
                victims = victims[self._value.is_lender[victims]]
            victims = self._first_to_leave(victims, missing)
            if not victims.size:
                return False
            # Who is away asks for no rebuild until it is back.
            reads = victims[~self._snapshot.is_away[victims]]
            rebuild_s = float(self._snapshot.resume_s[reads].sum())
            if worth is not None and (
                worth <= float(self._value.loss[victims].sum())
                or rebuild_s > self._rebuild_budget_s
            ):
                return False
            self._rebuild_budget_s -= rebuild_s
            self._give_up(victims)
        self._take(np.array([stream]))
        return True

    def _first_to_leave(self, victims: Ints, missing: int) -> Ints:
        """Those whose readers are away, if they free enough; else the cheapest of all."""
        away = victims[self._snapshot.is_away[victims]]
        chosen = self._cheapest(away, missing) if away.size else away
        return chosen if chosen.size else self._cheapest(victims, missing)

    def _cheapest(self, victims: Ints, missing: int) -> Ints:
        """The victims that cost least and free enough blocks; empty if there are none.

        One victim that is large enough, else the cheapest per block until it is enough. A
        loss counts per second of buffer: so long can the victim stay away, and it is paid
        for once.
        """
        held = self._snapshot.blocks[victims]
        lent_s = np.maximum(self._snapshot.slack_s[victims], MIN_LENT_S)
        loss = self._value.loss[victims] / lent_s
        enough = np.flatnonzero(held >= missing)
        if enough.size:
            return victims[enough[[np.argmin(loss[enough])]]]
        cheapest = np.argsort(loss / np.maximum(held, 1), kind="stable")
        freed = np.cumsum(held[cheapest])
        count = int(np.searchsorted(freed, missing)) + 1
        return victims[cheapest[:count]] if count <= victims.size else victims[:0]

    def _give_up(self, victims: Ints) -> None:
        self.is_preempted[victims] = True
        self._victims = self._victims[~self.is_preempted[self._victims]]
        self._blocks += int(self._snapshot.blocks[victims].sum())
        self._seats += victims.size

    def _take(self, streams: Ints) -> None:
        self.is_admitted[streams] = True
        self._blocks -= int(self._snapshot.blocks[streams].sum())
        self._seats -= streams.size
