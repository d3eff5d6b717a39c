"""KV blocks and slots of one engine: who fits, and who must leave for whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler.policies.packing import pack
from scheduler.snapshot import Bools, Ints, Plan, Snapshot


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to share, and what each stream takes of it.

    Attributes:
        weights: KV blocks by stream: what the running ones hold, what the others need.
        num_running: The first so many streams are in.
        blocks: Free blocks and those of the running streams.
        slots: Most streams that may run.
    """

    weights: Ints
    num_running: int
    blocks: int
    slots: int

    @classmethod
    def of(cls, snapshot: Snapshot, slots: int) -> Room:
        """The engine's blocks, and `slots` for all that run.

        Waiting streams need room to grow, not to be evicted at once. Were it kept for the
        running ones, too, a full memory would preempt without anybody asking for it.
        """
        held = snapshot.blocks_held
        weights = np.where(snapshot.is_running, held, snapshot.blocks)
        blocks = snapshot.free_blocks + int(held.sum())
        return cls(weights, snapshot.num_running, blocks, slots)

    @property
    def free_blocks(self) -> int:
        """Blocks left beside the running streams."""
        return self.blocks - int(self.weights[: self.num_running].sum())

    @property
    def free_slots(self) -> int:
        return self.slots - self.num_running

    def fill(self, order: Ints, must_stay: Bools) -> Bools:
        """Who should be in: those that must, then the others greedily in `order`."""
        blocks = self.blocks - int(self.weights[must_stay].sum())
        slots = self.slots - int(np.count_nonzero(must_stay))
        taken = pack(order[~must_stay[order]], self.weights, blocks, slots)
        chosen: Bools = taken | must_stay
        return chosen

    def num_leaving(self, asking: Ints, candidates: Ints) -> Ints:
        """By each of `asking`: how many of the first `candidates` leave to let it in.

        It comes in with all before it. More than there are candidates: it cannot. Never
        descending, shape (asking.size,).
        """
        freed = np.cumsum(self.weights[candidates])
        missing = np.cumsum(self.weights[asking]) - self.free_blocks
        for_blocks = np.where(missing > 0, np.searchsorted(freed, missing) + 1, 0)
        for_slots = np.arange(1, asking.size + 1) - self.free_slots
        counts: Ints = np.maximum(for_blocks, for_slots).clip(min=0)
        return counts

    def plan(self, order: Ints, must_stay: Bools) -> Plan:
        """Memory for the first of `order`, which names every running stream.

        No more running streams leave than those before them need room for.

        Args:
            order: Who may be in, best first.
            must_stay: Running streams that are in whatever their place, shape (n,).
        """
        is_running = order < self.num_running
        chosen = self.fill(order, must_stay)[order]
        asking = order[~is_running & chosen]
        giving = order[is_running & ~chosen][::-1]
        # As a rule all of them: none fits behind those before it. But packing stops
        # somewhere, and who is only behind that stays.
        victims = giving[: int(self.num_leaving(asking, giving).max(initial=0))]
        kept = order[is_running & ~np.isin(order, victims)]
        return Plan(admit=asking - self.num_running, preempt=victims, keep=kept)
