"""Times as microbenchmarks give them."""

from __future__ import annotations

import msgspec
import numpy as np

from qoe.metrics import Floats


class Milliseconds(msgspec.Struct, frozen=True):
    """Percentiles over what was measured."""

    p50: float
    p99: float

    def __str__(self) -> str:
        return f"{self.p50:.3f} / {self.p99:.3f}"


def milliseconds(seconds: Floats) -> Milliseconds:
    """Of these, shape (n,)."""
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return Milliseconds(round(float(p50), 4), round(float(p99), 4))
