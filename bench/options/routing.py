"""Options of `andes routers` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import Limits
from bench.options.parsers import MEASURE, number

Seeds = Annotated[
    int | None,
    number(
        "--seeds",
        Limits(1, 100, "seeds", whole=True),
        "Most loads of each scenario.",
        MEASURE,
        show_default="each scenario's own",
    ),
]
DurationS = Annotated[
    float,
    number(
        "--duration-s",
        Limits(1, 86_400, "seconds"),
        "Arrivals of each run.",
        MEASURE,
    ),
]
Lengths = Annotated[
    Path | None,
    typer.Option(
        "--lengths",
        metavar="FILE",
        help="CSV with columns input_tokens, output_tokens, as --lengths of replay.",
        show_default="the ShareGPT file beside the project, or lognormal",
        rich_help_panel=MEASURE,
    ),
]
