"""Options of `andes bound` alone."""

from __future__ import annotations

from typing import Annotated

from bench.errors import Limits
from bench.options.parsers import MEASURE, number

BinS = Annotated[
    float,
    number(
        "--bin-s",
        Limits(0.1, 3600, "seconds"),
        "Width of the bins that engine time is counted in: narrower is tighter and slower.",
        MEASURE,
    ),
]
TimeLimitS = Annotated[
    float,
    number(
        "--time-limit-s",
        Limits(0, 86_400, "seconds"),
        "Take the best bound that is found by then.",
        MEASURE,
    ),
]
