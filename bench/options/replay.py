"""Options of `andes replay` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import Limits, UserError, shown
from bench.options.parsers import (
    BURSTS,
    ENGINE,
    LOAD,
    MEASURE,
    READERS,
    REPORT,
    REQUESTS,
    checked,
    number,
    output_path,
    plot_path,
)
from bench.replay.arguments import PACES, TTFT_BY_INPUT
from bench.replay.profiles import DEFAULT_PROFILE, latency_profile
from qoe.expectation import TDS_RANGE, TTFT_RANGE_S
from scheduler.imported import imported_policy

# The names of `bench.replay.schedulers.SCHEDULERS`, which takes longer to import.
SCHEDULER_NAMES = (
    "fcfs",
    "shortest-prompt",
    "round-robin",
    "lqsf",
    "tokenflow",
    "andes-paper",
    "andes",
)
RESUMES = ("recompute", "offload")

_TTFT = Limits(*TTFT_RANGE_S, "seconds")
_TDS = Limits(*TDS_RANGE, "tokens/s")


def _one_of(names: tuple[str, ...]) -> Any:
    def parse(flag: str, text: str) -> str:
        if text not in names:
            raise UserError(
                f"{flag}={shown(text)} is invalid: it must be one of {', '.join(names)}."
            )
        return text

    return parse


def _scheduler(flag: str, text: str) -> str:
    if text in SCHEDULER_NAMES:
        return text
    try:
        imported_policy(text)
    except ValueError as error:
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be one of "
            f"{', '.join(SCHEDULER_NAMES)}, or package.module:Class of a policy: {error}."
        ) from None
    return text


def _number_or(names: tuple[str, ...], limits: Limits) -> Any:
    def parse(flag: str, text: str) -> float | str:
        if text in names:
            return text
        try:
            return limits.parse(flag, text)
        except UserError as error:
            sentence = str(error).removesuffix(".")
            raise UserError(f"{sentence}, or {' or '.join(names)}.") from None

    return parse


def _profile(flag: str, text: str) -> str:
    latency_profile(text)
    return text


Lengths = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw lengths from the rows of a CSV with columns input_tokens, output_tokens "
        "(or num_prefill_tokens, num_decode_tokens).",
        show_default="the trace's, or lognormal",
        rich_help_panel=LOAD,
    ),
]
Rate = Annotated[
    float | None,
    number(
        "--rate",
        Limits(0.001, 10_000, "requests/s"),
        "Mean request rate; stretches the time of a trace, all of it.",
        LOAD,
        show_default="the trace's own, or 4",
    ),
]
DurationS = Annotated[
    float | None,
    number(
        "--duration-s",
        Limits(0.1, 1_000_000, "seconds"),
        "Leave out what arrives later.",
        LOAD,
        show_default="the whole trace, or one cycle",
    ),
]
CycleS = Annotated[
    float,
    number("--cycle-s", Limits(1, 86_400, "seconds"), "Length of a cycle.", BURSTS),
]
Profile = Annotated[
    str,
    checked(
        "--profile",
        _profile,
        "NAME",
        f"Model, GPUs and what a step costs on them, as {DEFAULT_PROFILE}; a wrong name "
        "lists all.",
        ENGINE,
    ),
]
KvTokens = Annotated[
    int | None,
    number(
        "--kv-tokens",
        Limits(16, 20_000_000, "tokens", whole=True),
        "KV memory of the engine.",
        ENGINE,
        show_default="the profile's",
    ),
]
Resume = Annotated[
    str,
    checked(
        "--resume",
        _one_of(RESUMES),
        "|".join(RESUMES),
        "How a preempted stream gets its KV back: computed again, or loaded from the host.",
        ENGINE,
    ),
]
Scheduler = Annotated[
    list[str] | None,
    checked(
        "--scheduler",
        _scheduler,
        "|".join(SCHEDULER_NAMES),
        "Repeat it to compare. Any other policy is named as package.module:Class.",
        MEASURE,
        show_default="fcfs and andes",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a field of the scheduler's settings; repeat it for more.",
        rich_help_panel=MEASURE,
    ),
]
TtftS = Annotated[
    str,
    checked(
        "--ttft-s",
        _number_or((TTFT_BY_INPUT,), _TTFT),
        f"SECONDS|{TTFT_BY_INPUT}",
        f"Every reader expects the first token by then; {TTFT_BY_INPUT} is 1 s for every "
        "5000 prompt tokens, at least 1 s.",
        READERS,
    ),
]
Tds = Annotated[
    str,
    checked(
        "--tds",
        _number_or(PACES, _TDS),
        "|".join(("TOKENS/S", *PACES)),
        "Every reader's pace, or the population that paces are drawn from.",
        READERS,
    ),
]
Seed = Annotated[
    int,
    number(
        "--seed",
        Limits(0, 2**31 - 1, "", whole=True),
        "Of all draws: the same seed makes the same runs.",
        REQUESTS,
    ),
]
Json = Annotated[
    Path | None,
    checked("--json", output_path, "OUT.json", "Write every run's numbers.", REPORT),
]
Plot = Annotated[
    Path | None,
    checked("--plot", plot_path, "OUT.png", "Draw arrivals, QoE and TTFT.", REPORT),
]
