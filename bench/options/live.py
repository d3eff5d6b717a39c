"""Options of `andes bench` alone: the endpoint, and what is told of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import Limits
from bench.options.parsers import (
    ENDPOINT,
    REPORT,
    REQUESTS,
    checked,
    number,
    output_path,
    plot_path,
    url,
)

Url = Annotated[
    str, checked("--url", url, "URL", "OpenAI-compatible endpoint, with /v1.", ENDPOINT)
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Model name.",
        show_default="the first that the endpoint lists",
        rich_help_panel=ENDPOINT,
    ),
]
MaxContextTokens = Annotated[
    int | None,
    number(
        "--max-context-tokens",
        Limits(2, 10_000_000, "tokens", whole=True),
        "Clip longer requests, prompt first.",
        REQUESTS,
        show_default="what the endpoint says",
    ),
]
MaxOutputTokens = Annotated[
    int | None,
    number(
        "--max-output-tokens",
        Limits(1, 10_000_000, "tokens", whole=True),
        "Clip longer answers.",
        REQUESTS,
        show_default="no limit",
    ),
]
IgnoreEos = Annotated[
    bool,
    typer.Option(
        "--ignore-eos/--no-ignore-eos",
        help="Answers exactly as long as planned (a vLLM extension).",
        rich_help_panel=REQUESTS,
    ),
]
Label = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Name of the run in table and plot.", rich_help_panel=REPORT
    ),
]
Json = Annotated[
    Path | None,
    checked("--json", output_path, "OUT.json", "Write summary and every stream.", REPORT),
]
Plot = Annotated[
    Path | None,
    checked("--plot", plot_path, "OUT.png", "Draw QoE, TTFT and delivery curves.", REPORT),
]
MetricsPort = Annotated[
    int | None,
    number(
        "--metrics-port",
        Limits(1, 65535, "", whole=True),
        "Show the progress to Prometheus on this port of 127.0.0.1.",
        REPORT,
        show_default="no page",
    ),
]
