"""What `andes routers` was asked to do. No vLLM here."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.traces import PUBLISHED

_SHAREGPT = PUBLISHED / "sharegpt_8k_lengths.csv"


class RoutingArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes routers` was asked to do.

    Attributes:
        seeds: Most loads of each scenario; None is each one's own number.
        duration_s: Of the arrivals of each run.
        lengths: Where lengths are drawn from; None is lognormal.
        jobs: Processes.
        out: Folder of `fleet.json`, `fleet.md` and `fleet.png`.
        redraw: Make page and picture again, without a run.
        command: As it may be published.
    """

    seeds: int | None
    duration_s: float
    lengths: Path | None
    jobs: int
    out: Path
    redraw: bool
    command: str


def lengths_found(given: Path | None) -> Path | None:
    """The file to draw lengths from; only that beside the project may be missing."""
    path = given or _SHAREGPT
    return path if given is not None or path.exists() else None
