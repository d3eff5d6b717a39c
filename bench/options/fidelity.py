"""Options of `andes fidelity` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import Limits, UserError, shown
from bench.fidelity.clock import CLOCKS
from bench.options.parsers import MEASURE, REPORT, checked, number


def _clock(flag: str, text: str) -> str:
    if text not in CLOCKS:
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be one of {', '.join(CLOCKS)}."
        )
    return text


Repeats = Annotated[
    int,
    number(
        "--repeats",
        Limits(1, 100, "runs", whole=True),
        "Runs of the real engine under each scheduler.",
        MEASURE,
    ),
]
Clock = Annotated[
    str,
    checked(
        "--clock",
        _clock,
        "|".join(CLOCKS),
        "The time that the engine's thread ran, or the wall's, which other programs slow.",
        MEASURE,
    ),
]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="For table and JSON.", rich_help_panel=REPORT)
]
