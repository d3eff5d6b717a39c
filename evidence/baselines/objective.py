"""What serving a stream is worth: the paper's three objectives."""

from __future__ import annotations

from typing import Literal

import numpy as np

from scheduler.snapshot import Floats

Objective = Literal["mean", "max-min", "perfect"]

# QoE is a ratio of sums; rounding must not cost a reader the word "perfect".
PERFECT = 1.0 - 1e-9


def gain(
    served: Floats, waiting: Floats, weight: Floats, objective: Objective = "mean"
) -> Floats:
    """What the objective gains by serving each stream through the horizon, shape (n,).

    * `mean` is the mean QoE: Q_serve − Q_wait.
    * `max-min` raises the least QoE: max(Q_min − Q_wait, 0). Q_min is the least QoE at the
      end of the horizon with everybody served. The least QoE of now would be 0 as soon as
      one reader is late for the first token, and then nobody would gain anything.
    * `perfect` counts the readers who are never late: 1(Q_serve = 1) − 1(Q_wait = 1). The
      paper's factor 1(Q_now = 1) is implied: a reader who is behind by now reads at most
      at the expected pace from here on, and so is behind at the horizon as well.

    Args:
        served: QoE at the end of the horizon, served.
        waiting: QoE at the end of the horizon, not served.
        weight: What each reader counts for, > 0.
        objective: Which of the three.
    """
    if objective == "max-min":
        worth = np.maximum(served.min(initial=1.0) - waiting, 0.0)
    elif objective == "perfect":
        worth = (served >= PERFECT).astype(np.float64) - (waiting >= PERFECT)
    else:
        worth = served - waiting
    gained: Floats = weight * worth
    return gained
