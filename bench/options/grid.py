"""Options of `andes grid` alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import Limits, UserError, shown
from bench.grid.cells import REGIMES
from bench.options.parsers import MEASURE, REPORT, checked, number

_LENGTHS = "CSV with columns input_tokens, output_tokens, as --lengths of replay:"


def _regime(flag: str, text: str) -> str:
    if text not in REGIMES:
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be one of {', '.join(REGIMES)}."
        )
    return text


def _folder(flag: str, text: str) -> Path:
    path = Path(text)
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    # Finding out after half an hour would cost the runs.
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be a folder that can be written."
        )
    return path


def _lengths(flag: str, whose: str) -> object:
    return typer.Option(
        flag,
        metavar="FILE",
        help=f"{_LENGTHS} {whose}.",
        show_default="the trace beside the project, or lognormal",
        rich_help_panel=MEASURE,
    )


RegimeName = Annotated[
    list[str] | None,
    checked(
        "--regime",
        _regime,
        "|".join(REGIMES),
        "; ".join(f"{name} is {regime.title}" for name, regime in REGIMES.items())
        + ". Repeat it for more.",
        MEASURE,
        show_default="all",
    ),
]
Seeds = Annotated[
    int | None,
    number(
        "--seeds",
        Limits(1, 100, "seeds", whole=True),
        "Runs of each cell of the sweep.",
        MEASURE,
        show_default="each regime's own",
    ),
]
CycleS = Annotated[
    float | None,
    number(
        "--cycle-s",
        Limits(1, 86_400, "seconds"),
        "Length of the one cycle of a run; the paper's 1200 takes hours.",
        MEASURE,
        show_default="300",
    ),
]
Jobs = Annotated[
    int | None,
    number(
        "--jobs",
        Limits(1, 256, "processes", whole=True),
        "Runs at the same time.",
        MEASURE,
        show_default="one a core",
    ),
]
Sharegpt = Annotated[Path | None, _lengths("--sharegpt", "regimes A and C")]
Azure = Annotated[Path | None, _lengths("--azure", "regime B")]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="A smoke test: one seed, cycles of 60 s; it needs --out.",
        rich_help_panel=MEASURE,
    ),
]
Out = Annotated[
    Path | None,
    checked(
        "--out",
        _folder,
        "DIR",
        "For pages, numbers and pictures; docs/results fills the README as well.",
        REPORT,
        show_default="docs/results",
    ),
]
Partial = Annotated[
    bool,
    typer.Option(
        "--partial", help="Write what there is when stopped.", rich_help_panel=REPORT
    ),
]
Redraw = Annotated[
    bool,
    typer.Option(
        "--redraw",
        help="Run nothing: make pages and pictures again of DIR/grid.json.",
        rich_help_panel=REPORT,
    ),
]
