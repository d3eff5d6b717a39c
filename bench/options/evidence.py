"""Options of `andes evidence`, some of `andes routers` as well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import Limits, UserError, shown
from bench.options.parsers import MEASURE, REPORT, checked, number


def _folder(flag: str, text: str) -> Path:
    path = Path(text)
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    # Finding out after half an hour would cost the runs.
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be a folder that can be written."
        )
    return path


Families = Annotated[
    list[str] | None,
    typer.Option(
        "--family",
        metavar="NAME",
        help="A load family to run; repeat it for more.",
        show_default="all",
        rich_help_panel=MEASURE,
    ),
]
Seeds = Annotated[
    int | None,
    number(
        "--seeds",
        Limits(1, 100, "seeds", whole=True),
        "Most seeds of each load.",
        MEASURE,
        show_default="each part's own",
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
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="A smoke test: one seed of one family on a small engine; it needs --out.",
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
        "--partial",
        help="Run nothing: make the page of what has been run yet.",
        rich_help_panel=REPORT,
    ),
]
Redraw = Annotated[
    bool,
    typer.Option(
        "--redraw",
        help="Run nothing: make page and picture again of the numbers in DIR.",
        rich_help_panel=REPORT,
    ),
]
