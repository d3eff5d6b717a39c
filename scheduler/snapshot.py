"""What the policy sees of one engine step, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The live streams of one engine before a step; the running ones come first.

    All arrays have shape (n,), in the order running + waiting of the engine's own lists.

    Attributes:
        num_running: How many of the n streams hold KV memory.
        gain: QoE won by serving the stream over the horizon, in [0, 1].
        slack_s: Seconds until its reader notices that nothing comes; negative once late.
        blocks: KV blocks the stream needs through its minimum residency.
        blocks_held: KV blocks it holds now; 0 for waiting streams.
        is_urgent: Its reader notices soon unless it is served; others can wait for room.
        is_overdue: Waiting, and late beyond what the settings allow anyone.
        resume_s: Engine seconds to rebuild its KV memory once it has been given up.
        may_preempt: Running streams the engine can give up now: resident long enough,
            not preempted too often, blocks that free at once.
        free_blocks: Blocks nobody holds.
        max_running: Most streams the engine runs at once.
        harm_per_s: QoE that a second of engine time costs all live streams together.
    """

    num_running: int
    gain: Floats
    slack_s: Floats
    is_urgent: Bools
    is_overdue: Bools
    blocks: Ints
    blocks_held: Ints
    resume_s: Floats
    may_preempt: Bools
    free_blocks: int
    max_running: int
    harm_per_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do in this step; indices count within the engine's own lists.

    `keep` and `preempt` together name every running stream once.

    Attributes:
        admit: Waiting streams to offer to the engine, best first. All others are held.
        preempt: Running streams to give up before the step.
        keep: Running streams, most valuable first: the engine evicts from the end.
    """

    admit: Ints
    preempt: Ints
    keep: Ints
