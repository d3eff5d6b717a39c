"""Whether there is anything to decide about KV memory."""

from __future__ import annotations

from scheduler.snapshot import Snapshot


def has_room(snapshot: Snapshot) -> bool:
    """Whether everybody fits, and each running stream may grow by a block."""
    return snapshot.fits_all and snapshot.free_blocks >= snapshot.num_running
