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
DemoRate = Annotated[
    float | None,
    number(
        "--rate",
        Limits(0.001, 10_000, "requests/s"),
        "Mean request rate, instead of one that is probed for.",
        MEASURE,
        show_default="where fcfs falls to a mean area QoE of 0.55 on this machine",
    ),
]
DemoDurationS = Annotated[
    float,
    number(
        "--duration-s",
        Limits(1, 1_000_000, "seconds"),
        "Send for this long in each run, then wait for the answers.",
        MEASURE,
    ),
]
Redraw = Annotated[
    bool,
    typer.Option(
        "--redraw",
        help="Run nothing: make the table again of DIR/demo.json.",
        rich_help_panel=REPORT,
    ),
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
