"""How an option becomes a value: the number, name or file, or one clear sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import typer

from bench.errors import Limits, UserError, shown
from qoe.expectation import PROFILES

ENDPOINT = "Endpoint"
LOAD = "Load: a trace or --synthetic"
BURSTS = "Shape of --synthetic"
READERS = "Readers"
REQUESTS = "Requests"
ENGINE = "Engine"
REPORT = "Report"
MEASURE = "What is measured"

_PLOT_SUFFIXES = (".png", ".svg", ".pdf")


def number(flag: str, limits: Limits, text: str, panel: str, **more: Any) -> Any:
    metavar = limits.unit.replace(" ", "_").upper()
    return typer.Option(
        flag,
        parser=partial(limits.parse, flag),
        metavar=metavar or "N",
        help=text,
        rich_help_panel=panel,
        **more,
    )


def checked(
    flag: str,
    parse: Callable[[str, str], Any],
    metavar: str,
    text: str,
    panel: str,
    **more: Any,
) -> Any:
    return typer.Option(
        flag,
        parser=partial(parse, flag),
        metavar=metavar,
        help=text,
        rich_help_panel=panel,
        **more,
    )


def url(flag: str, text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must begin with http:// or https://."
        )
    return text.rstrip("/")


def profile(flag: str, text: str) -> str:
    if text not in PROFILES:
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be one of {', '.join(PROFILES)}."
        )
    return text


# Output paths are checked before the run: finding out after it would cost the run.
def output_path(flag: str, text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be a file in a folder that exists."
        )
    return path


def plot_path(flag: str, text: str) -> Path:
    path = output_path(flag, text)
    if path.suffix not in _PLOT_SUFFIXES:
        raise UserError(
            f"{flag}={shown(text)} is invalid: its name must end in one of "
            f"{', '.join(_PLOT_SUFFIXES)}."
        )
    return path


def page_path(flag: str, text: str) -> Path:
    path = output_path(flag, text)
    if path.suffix != ".md":
        raise UserError(f"{flag}={shown(text)} is invalid: its name must end in .md.")
    return path
