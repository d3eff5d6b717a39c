"""What is sent, and who reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import Limits
from bench.options.parsers import BURSTS, LOAD, READERS, REQUESTS, checked, number, profile
from qoe.expectation import PATIENCE_RANGE_S, PROFILES, TDS_RANGE, TTFT_RANGE_S

Trace = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV with columns arrival_s, input_tokens, output_tokens; others are ignored.",
        rich_help_panel=LOAD,
    ),
]
Synthetic = Annotated[
    bool,
    typer.Option(
        "--synthetic",
        help="The paper's cyclic bursts: calm, burst, calm, and again.",
        rich_help_panel=LOAD,
    ),
]
StartS = Annotated[
    float,
    number(
        "--start-s",
        Limits(0, 1_000_000_000, "seconds"),
        "Begin this far into the trace.",
        LOAD,
    ),
]
DurationS = Annotated[
    float | None,
    number(
        "--duration-s",
        Limits(0.1, 1_000_000, "seconds"),
        "Send for this long, in scaled time, then wait for the answers.",
        LOAD,
        show_default="the whole trace, or one cycle",
    ),
]
RateScale = Annotated[
    float,
    number(
        "--rate-scale",
        Limits(0.001, 100, ""),
        "Scale the request rate and leave time alone: 0.5 drops half of the requests, "
        "2 sends each twice, a little apart.",
        LOAD,
    ),
]
TimeScale = Annotated[
    float,
    number(
        "--time-scale",
        Limits(0.001, 10_000, ""),
        "Run arrivals this many times faster than recorded.",
        LOAD,
    ),
]
Rate = Annotated[
    float,
    number("--rate", Limits(0.001, 10_000, "requests/s"), "Mean request rate.", BURSTS),
]
Intensity = Annotated[
    float,
    number("--intensity", Limits(1, 100, ""), "Rate in a burst over the mean.", BURSTS),
]
BurstShare = Annotated[
    float,
    number("--burst-share", Limits(0.01, 0.99, ""), "Part of a cycle in burst.", BURSTS),
]
CycleS = Annotated[
    float,
    number(
        "--cycle-s",
        Limits(1, 86_400, "seconds"),
        "Length of a cycle; paper: 1200.",
        BURSTS,
    ),
]
InputTokens = Annotated[
    int,
    number(
        "--input-tokens",
        Limits(1, 1_000_000, "tokens", whole=True),
        "Median prompt; lengths are lognormal.",
        BURSTS,
    ),
]
OutputTokens = Annotated[
    int,
    number(
        "--output-tokens",
        Limits(1, 1_000_000, "tokens", whole=True),
        "Median answer; lengths are lognormal.",
        BURSTS,
    ),
]
Profile = Annotated[
    str,
    checked(
        "--profile",
        profile,
        "|".join(PROFILES),
        "Population that readers and their paces are drawn from.",
        READERS,
    ),
]
TtftS = Annotated[
    float | None,
    number(
        "--ttft-s",
        Limits(*TTFT_RANGE_S, "seconds"),
        "Every reader expects the first token by then.",
        READERS,
        show_default="the profile's",
    ),
]
Tds = Annotated[
    float | None,
    number(
        "--tds",
        Limits(*TDS_RANGE, "tokens/s"),
        "Every reader's pace.",
        READERS,
        show_default="drawn from the profile",
    ),
]
PatienceS = Annotated[
    float | None,
    number(
        "--patience-s",
        Limits(*PATIENCE_RANGE_S, "seconds"),
        "Every reader would rather be refused than have no token by then.",
        READERS,
        show_default="for ever",
    ),
]
Seed = Annotated[
    int,
    number(
        "--seed",
        Limits(0, 2**31 - 1, "", whole=True),
        "Of all draws: the same seed sends the same load.",
        REQUESTS,
    ),
]
