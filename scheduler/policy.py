"""The Andes policy: who holds KV memory in the next iteration. Pure: same in, same out."""

from __future__ import annotations

import numpy as np

from scheduler.packing import pack
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Floats, Ints, Plan, Snapshot


def under_pressure(snapshot: Snapshot) -> bool:
    """Whether the waiting streams do not all fit beside the running ones."""
    waiting = snapshot.gain.size - snapshot.num_running
    demand = int(snapshot.blocks[snapshot.num_running :].sum())
    return demand > snapshot.free_blocks or waiting > (
        snapshot.max_running - snapshot.num_running
    )


def plan(snapshot: Snapshot, settings: SchedulerSettings) -> Plan:
    """Greedy knapsack over running and waiting streams (paper, section 4).

    Streams are taken by QoE gain per KV block. Running streams that may not be preempted are
    taken beforehand; the others carry a bonus of what their resume would cost everyone, so
    that one is given up only for a stream that is worth more than that.
    """
    running = snapshot.num_running
    is_victim = snapshot.may_preempt.copy()
    is_victim[:running] &= snapshot.slack_s[:running] >= settings.min_victim_slack_s
    is_victim[running:] = False
    is_pinned = ~is_victim
    is_pinned[running:] = False

    order = by_value(snapshot)
    pinned_blocks = int(snapshot.blocks[is_pinned].sum())
    capacity = snapshot.free_blocks + int(snapshot.blocks_held.sum()) - pinned_blocks
    taken = pack(
        order[~is_pinned[order]],
        snapshot.blocks,
        capacity,
        snapshot.max_running - int(is_pinned.sum()),
    )
    admitted = order[taken[order] & (order >= running)]
    kept = order[order < running]
    preempt = _needed_victims(snapshot, kept[is_victim[kept] & ~taken[kept]], admitted)
    is_kept = np.ones(running, dtype=np.bool_)
    is_kept[preempt] = False
    return Plan(
        admit=admitted - running,
        preempt=preempt,
        keep=kept[is_kept[kept]],
    )


def by_value(snapshot: Snapshot) -> Ints:
    """Indices of all streams, best first: gain (and resume price) per block, then slack."""
    price = snapshot.resume_s * snapshot.harm_per_s
    price[snapshot.num_running :] = 0.0
    density: Floats = (snapshot.gain + price) / np.maximum(snapshot.blocks, 1)
    return np.lexsort((snapshot.slack_s, -density)).astype(np.int64)


def _needed_victims(snapshot: Snapshot, victims: Ints, admitted: Ints) -> Ints:
    """The least valuable of `victims` (best first) that free what `admitted` needs."""
    if victims.size == 0 or admitted.size == 0:
        return victims[:0]
    missing_blocks = int(snapshot.blocks[admitted].sum()) - snapshot.free_blocks
    missing_seats = admitted.size - (snapshot.max_running - snapshot.num_running)
    worst_first = victims[::-1]
    freed = np.cumsum(snapshot.blocks_held[worst_first])
    for_blocks = int(np.searchsorted(freed, missing_blocks)) + 1 if missing_blocks > 0 else 0
    return worst_first[: max(for_blocks, missing_seats, 0)]
