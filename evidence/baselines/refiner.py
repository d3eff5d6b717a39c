"""The paper's overhead-aware refiner: which part of a solution is worth its preemptions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.baselines.room import Room
from scheduler.policies.packing import pack
from scheduler.snapshot import Floats, Ints

# Swaps of one plan: the next plan goes on where this one ends.
MAX_SWAPS = 32


@dataclass(slots=True)
class Refiner:
    """Walks the admissions of a solution by priority, and pays for each preemption.

    An admission takes the smallest set of victims that makes room for it. It is worth it if
    what it gains exceeds what its victims lose, and what all ongoing streams lose while the
    engine preempts them. The first that is not ends the preemptions of this plan.

    Attributes:
        room: Blocks and slots.
        gain: What serving each stream is worth.
        overhead_s: Engine seconds that preempting each stream costs.
        loss_per_s: What all ongoing streams lose in a second of overhead.
        max_victims: Most preemptions of this plan.
    """

    room: Room
    gain: Floats
    overhead_s: Floats
    loss_per_s: float
    max_victims: float

    def refine(self, admissions: Ints, candidates: Ints, asking: Ints) -> tuple[Ints, Ints]:
        """Who is admitted and who is preempted for them.

        Args:
            admissions: Waiting streams of the solution, best first.
            candidates: Running streams that the solution leaves out.
            asking: All waiting streams, best first: they get what is free in the end, so
                that a swap that is not worth it leaves no memory idle.
        """
        blocks, slots = self.room.free_blocks, self.room.free_slots
        victims: list[Ints] = []
        num_victims = done = 0
        for _ in range(MAX_SWAPS):
            fitting = self._fitting(admissions[done:], blocks, slots)
            blocks -= int(self.room.weights[admissions[done : done + fitting]].sum())
            slots -= fitting
            done += fitting
            if done == admissions.size:
                break
            stream = int(admissions[done])
            missing = int(self.room.weights[stream]) - blocks
            leaving = self._smallest_set(candidates, missing, 1 - slots)
            num_victims += leaving.size
            if num_victims > self.max_victims or not self._is_worth(stream, leaving):
                break
            victims.append(leaving)
            candidates = candidates[~np.isin(candidates, leaving)]
            blocks += int(self.room.weights[leaving].sum() - self.room.weights[stream])
            slots += leaving.size - 1
            done += 1
        admitted = admissions[:done]
        rest = asking[~np.isin(asking, admitted)]
        filling = pack(rest, self.room.weights, blocks, slots)
        admitted = np.concatenate([admitted, rest[filling[rest]]])
        return admitted, np.concatenate([*victims, candidates[:0]])

    def _fitting(self, admissions: Ints, blocks: int, slots: int) -> int:
        """How many of the first admissions need no victim."""
        used = np.cumsum(self.room.weights[admissions])
        return min(int(np.searchsorted(used, blocks, side="right")), max(slots, 0))

    def _smallest_set(self, candidates: Ints, blocks: int, slots: int) -> Ints:
        """The fewest streams that free this much; the smallest one if one is enough.

        Empty if all of them are not enough.
        """
        weights = self.room.weights[candidates]
        largest_first = np.argsort(-weights, kind="stable")
        freed = np.cumsum(weights[largest_first])
        count = max(int(np.searchsorted(freed, blocks)) + 1, slots)
        if count > candidates.size:
            return candidates[:0]
        if count == 1:
            last_enough = int(np.count_nonzero(weights >= blocks)) - 1
            return candidates[largest_first[last_enough : last_enough + 1]]
        return candidates[largest_first[:count]]

    def _is_worth(self, stream: int, leaving: Ints) -> bool:
        if leaving.size == 0:
            return False
        overhead = float(self.overhead_s[leaving].sum()) * self.loss_per_s
        return float(self.gain[stream] - self.gain[leaving].sum()) > overhead
