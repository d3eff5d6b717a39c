"""Options of `andes plan` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from bench.errors import Limits
from bench.options.parsers import (
    MEASURE,
    REPORT,
    checked,
    number,
    page_path,
)
from bench.plan.contenders import FORM as CONTENDER_FORM
from bench.plan.contenders import Contender, parse_contender
from bench.plan.targets import FORM as TARGET_FORM
from bench.plan.targets import METRICS, Target, parse_target

Targets = Annotated[
    list[Target] | None,
    checked(
        "--target",
        parse_target,
        TARGET_FORM,
        f"What readers are to get, as 'mean>=0.95'; METRIC is one of {', '.join(METRICS)} "
        "of the area QoE, share being that of streams at 0.95 or more. Repeat it: all are "
        "to be met.",
        MEASURE,
        show_default="mean>=0.95",
    ),
]
Contenders = Annotated[
    list[Contender] | None,
    checked(
        "--contender",
        parse_contender,
        CONTENDER_FORM,
        "Who is planned for; repeat it to compare with the first.",
        MEASURE,
        show_default="fcfs+pow2 and andes+qoe",
    ),
]
MaxReplicas = Annotated[
    int,
    number(
        "--max-replicas",
        Limits(1, 1024, "replicas", whole=True),
        "No more are tried.",
        MEASURE,
    ),
]
NumWorkers = Annotated[
    int | None,
    number(
        "--workers",
        Limits(1, 256, "processes", whole=True),
        "Replays at the same time.",
        MEASURE,
        show_default="one a core",
    ),
]
Page = Annotated[
    Path | None,
    checked("--page", page_path, "OUT.md", "Write the plan as a page.", REPORT),
]
