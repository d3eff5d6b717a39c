"""Options of `andes demo` and `andes microbench` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import Limits
from bench.options.parsers import MEASURE, REPORT, checked, number, output_path

Sizes = Annotated[
    list[int] | None,
    number(
        "--streams",
        Limits(2, 20_000, "streams", whole=True),
        "Live streams, half of them running; repeat it for more sizes.",
        MEASURE,
        show_default="50, 200, 1000",
    ),
]
Fleets = Annotated[
    list[int] | None,
    number(
        "--replicas",
        Limits(1, 10_000, "replicas", whole=True),
        "Replicas of a router; repeat it for more sizes.",
        MEASURE,
        show_default="8, 64",
    ),
]
Steps = Annotated[
    int,
    number(
        "--steps",
        Limits(20, 100_000, "steps", whole=True),
        "Measured steps of each engine.",
        MEASURE,
    ),
]
MicrobenchJson = Annotated[
    Path | None,
    checked("--json", output_path, "OUT.json", "Write the percentiles.", REPORT),
]
Pairs = Annotated[
    int, number("--pairs", Limits(1, 100, "pairs", whole=True), "Runs of each.", MEASURE)
]
Rounds = Annotated[
    int, number("--rounds", Limits(1, 100, "rounds", whole=True), "Runs of each.", MEASURE)
]
KvBlocks = Annotated[
    int,
    number(
        "--kv-blocks",
        Limits(33, 1_000_000, "blocks", whole=True),
        "KV blocks of each engine: few make memory scarce.",
        MEASURE,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Serve config of the service.",
        show_default="serve_config.yaml",
        rich_help_panel=MEASURE,
    ),
]
Out = Annotated[
    Path,
    typer.Option(metavar="DIR", help="For table, JSON and PNG.", rich_help_panel=REPORT),
]
