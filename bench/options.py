"""The options of `andes bench` as typer types: range, unit and help of each.

Light imports only: `andes --help` reads this file.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import Limits, UserError, shown
from qoe.expectation import PROFILES, TDS_RANGE, TTFT_RANGE_S

_PLOT_SUFFIXES = (".png", ".svg", ".pdf")


def _number(flag: str, limits: Limits, text: str, panel: str, **more: Any) -> Any:
    metavar = limits.unit.replace(" ", "_").upper()
    return typer.Option(
        flag,
        parser=partial(limits.parse, flag),
        metavar=metavar or "N",
        help=text,
        rich_help_panel=panel,
        **more,
    )


def _checked(
    flag: str, parse: Callable[[str, str], Any], metavar: str, text: str, panel: str
) -> Any:
    return typer.Option(
        flag,
        parser=partial(parse, flag),
        metavar=metavar,
        help=text,
        rich_help_panel=panel,
    )


def _url(flag: str, text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must begin with http:// or https://."
        )
    return text.rstrip("/")


def _profile(flag: str, text: str) -> str:
    if text not in PROFILES:
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be one of {', '.join(PROFILES)}."
        )
    return text


# Output paths are checked before the run: finding out after it would cost the run.
def _output(flag: str, text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be a file in a folder that exists."
        )
    return path


def _plot(flag: str, text: str) -> Path:
    path = _output(flag, text)
    if path.suffix not in _PLOT_SUFFIXES:
        raise UserError(
            f"{flag}={shown(text)} is invalid: its name must end in one of "
            f"{', '.join(_PLOT_SUFFIXES)}."
        )
    return path


_ENDPOINT = "Endpoint"
_LOAD = "Load: a trace or --synthetic"
_BURSTS = "Shape of --synthetic"
_READERS = "Readers"
_REQUESTS = "Requests"
_REPORT = "Report"
_MEASURE = "What is measured"

Url = Annotated[
    str, _checked("--url", _url, "URL", "OpenAI-compatible endpoint, with /v1.", _ENDPOINT)
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Model name.",
        show_default="the first that the endpoint lists",
        rich_help_panel=_ENDPOINT,
    ),
]
Trace = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV with columns arrival_s, input_tokens, output_tokens; others are ignored.",
        rich_help_panel=_LOAD,
    ),
]
Synthetic = Annotated[
    bool,
    typer.Option(
        "--synthetic",
        help="The paper's cyclic bursts: calm, burst, calm, and again.",
        rich_help_panel=_LOAD,
    ),
]
StartS = Annotated[
    float,
    _number(
        "--start-s",
        Limits(0, 1_000_000_000, "seconds"),
        "Begin this far into the trace.",
        _LOAD,
    ),
]
DurationS = Annotated[
    float | None,
    _number(
        "--duration-s",
        Limits(0.1, 1_000_000, "seconds"),
        "Send for this long, in scaled time, then wait for the answers.",
        _LOAD,
        show_default="the whole trace, or one cycle",
    ),
]
RateScale = Annotated[
    float,
    _number(
        "--rate-scale",
        Limits(0.001, 100, ""),
        "Scale the request rate and leave time alone: 0.5 drops half of the requests, "
        "2 sends each twice, a little apart.",
        _LOAD,
    ),
]
TimeScale = Annotated[
    float,
    _number(
        "--time-scale",
        Limits(0.001, 10_000, ""),
        "Run arrivals this many times faster than recorded.",
        _LOAD,
    ),
]
Rate = Annotated[
    float,
    _number("--rate", Limits(0.001, 10_000, "requests/s"), "Mean request rate.", _BURSTS),
]
Intensity = Annotated[
    float,
    _number("--intensity", Limits(1, 100, ""), "Rate in a burst over the mean.", _BURSTS),
]
BurstShare = Annotated[
    float,
    _number("--burst-share", Limits(0.01, 0.99, ""), "Part of a cycle in burst.", _BURSTS),
]
CycleS = Annotated[
    float,
    _number(
        "--cycle-s",
        Limits(1, 86_400, "seconds"),
        "Length of a cycle; paper: 1200.",
        _BURSTS,
    ),
]
InputTokens = Annotated[
    int,
    _number(
        "--input-tokens",
        Limits(1, 1_000_000, "tokens", whole=True),
        "Median prompt; lengths are lognormal.",
        _BURSTS,
    ),
]
OutputTokens = Annotated[
    int,
    _number(
        "--output-tokens",
        Limits(1, 1_000_000, "tokens", whole=True),
        "Median answer; lengths are lognormal.",
        _BURSTS,
    ),
]
Profile = Annotated[
    str,
    _checked(
        "--profile",
        _profile,
        "|".join(PROFILES),
        "Population that readers and their paces are drawn from.",
        _READERS,
    ),
]
TtftS = Annotated[
    float | None,
    _number(
        "--ttft-s",
        Limits(*TTFT_RANGE_S, "seconds"),
        "Every reader expects the first token by then.",
        _READERS,
        show_default="the profile's",
    ),
]
Tds = Annotated[
    float | None,
    _number(
        "--tds",
        Limits(*TDS_RANGE, "tokens/s"),
        "Every reader's pace.",
        _READERS,
        show_default="drawn from the profile",
    ),
]
MaxContextTokens = Annotated[
    int | None,
    _number(
        "--max-context-tokens",
        Limits(2, 10_000_000, "tokens", whole=True),
        "Clip longer requests, prompt first.",
        _REQUESTS,
        show_default="what the endpoint says",
    ),
]
MaxOutputTokens = Annotated[
    int | None,
    _number(
        "--max-output-tokens",
        Limits(1, 10_000_000, "tokens", whole=True),
        "Clip longer answers.",
        _REQUESTS,
        show_default="no limit",
    ),
]
Seed = Annotated[
    int,
    _number(
        "--seed",
        Limits(0, 2**31 - 1, "", whole=True),
        "Of all draws: the same seed sends the same load.",
        _REQUESTS,
    ),
]
IgnoreEos = Annotated[
    bool,
    typer.Option(
        "--ignore-eos/--no-ignore-eos",
        help="Answers exactly as long as planned (a vLLM extension).",
        rich_help_panel=_REQUESTS,
    ),
]
Label = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Name of the run in table and plot.", rich_help_panel=_REPORT
    ),
]
Json = Annotated[
    Path | None,
    _checked("--json", _output, "OUT.json", "Write summary and every stream.", _REPORT),
]
Plot = Annotated[
    Path | None,
    _checked("--plot", _plot, "OUT.png", "Draw QoE, TTFT and delivery curves.", _REPORT),
]

Sizes = Annotated[
    list[int] | None,
    _number(
        "--streams",
        Limits(2, 20_000, "streams", whole=True),
        "Live streams, half of them running; repeat it for more sizes.",
        _MEASURE,
        show_default="50, 200, 1000",
    ),
]
Steps = Annotated[
    int,
    _number(
        "--steps",
        Limits(20, 100_000, "steps", whole=True),
        "Measured steps of each engine.",
        _MEASURE,
    ),
]
MicrobenchJson = Annotated[
    Path | None, _checked("--json", _output, "OUT.json", "Write the percentiles.", _REPORT)
]
Pairs = Annotated[
    int, _number("--pairs", Limits(1, 100, "pairs", whole=True), "Runs of each.", _MEASURE)
]
KvBlocks = Annotated[
    int,
    _number(
        "--kv-blocks",
        Limits(33, 1_000_000, "blocks", whole=True),
        "KV blocks of each engine: few make memory scarce.",
        _MEASURE,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Serve config of the service.",
        show_default="serve_config.yaml",
        rich_help_panel=_MEASURE,
    ),
]
Out = Annotated[
    Path,
    typer.Option(metavar="DIR", help="For table, JSON and PNG.", rich_help_panel=_REPORT),
]
