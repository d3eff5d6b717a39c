"""Options of `andes soak` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.errors import Limits
from bench.options.parsers import MEASURE, REPORT, checked, number, output_path

Streaming = Literal["direct", "handle"]
DurationS = Annotated[
    float,
    number(
        "--duration-s",
        Limits(30, 1_000_000, "seconds"),
        "Send and break things for this long, then wait for the answers.",
        MEASURE,
    ),
]
Rate = Annotated[
    float,
    number(
        "--rate",
        Limits(0.01, 10_000, "requests/s"),
        "Mean rate of requests, beside bursts and long streams.",
        MEASURE,
    ),
]
Way = Annotated[
    Streaming,
    typer.Option("--streaming", help="How tokens reach clients.", rich_help_panel=MEASURE),
]
Faults = Annotated[
    bool,
    typer.Option(
        "--faults/--no-faults",
        help="Kill and freeze replicas, engines, router and HAProxy, in turns.",
        rich_help_panel=MEASURE,
    ),
]
Json = Annotated[
    Path | None,
    checked("--json", output_path, "OUT.json", "Write all that was seen.", REPORT),
]
Publish = Annotated[
    bool,
    typer.Option(
        "--publish",
        help="Put the tables into docs/reliability.md, between the marks of soak.",
        rich_help_panel=REPORT,
    ),
]
