"""What `andes grid` was asked to do."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import UserError
from bench.grid.cells import REGIMES, Regime

DEFAULT_OUT = Path("docs/results")
QUICK_CYCLE_S = 60.0
CYCLE_S = 300.0
# Beside the project, where the traces of this workplace lie.
_TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"
DEFAULT_LENGTHS = {
    "sharegpt": _TRACES / "sharegpt_8k_lengths.csv",
    "azure": _TRACES / "azure_conv.csv",
}


class GridArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What the grid runs, and where to.

    Attributes:
        regime: Names of the regimes.
        seeds: Of each cell of the sweep; None is each regime's own number.
        cycle_s: Length of the one cycle that every run has.
        jobs: Worker processes.
        sharegpt: Lengths of regimes A and C; None where they are drawn.
        azure: Lengths of regime B; None where they are drawn.
        out: Folder for the pages, the numbers and the pictures.
        quick: It is a smoke test.
        partial: An interrupted grid writes what there is.
        redraw: Nothing runs: pages and pictures are made again of the numbers in `out`.
    """

    regime: tuple[str, ...] = tuple(REGIMES)
    seeds: int | None = None
    cycle_s: float = CYCLE_S
    jobs: int = 1
    sharegpt: Path | None = None
    azure: Path | None = None
    out: Path = DEFAULT_OUT
    quick: bool = False
    partial: bool = False
    redraw: bool = False

    @property
    def regimes(self) -> list[Regime]:
        """What the names stand for."""
        return [REGIMES[name] for name in self.regime]

    def lengths(self, regime: Regime) -> Path | None:
        """Where a regime draws lengths from; None is the lognormal draw of the load."""
        path: Path | None = getattr(self, regime.lengths)
        return path

    @property
    def command(self) -> str:
        """The command that runs this grid again, files by name wherever they lie here."""
        words = ["andes", "grid"]
        if set(self.regime) != set(REGIMES):
            words += [word for name in self.regime for word in ("--regime", name)]
        if self.quick:
            words += ["--quick"]
        if self.seeds is not None and not (self.quick and self.seeds == 1):
            words += ["--seeds", str(self.seeds)]
        if self.cycle_s != (QUICK_CYCLE_S if self.quick else CYCLE_S):
            words += ["--cycle-s", f"{self.cycle_s:g}"]
        for name, default in DEFAULT_LENGTHS.items():
            path = getattr(self, name)
            if path is not None and path != default:
                words += [f"--{name}", path.name]
        return shlex.join(words)


def grid_arguments(given: Mapping[str, Any]) -> GridArguments:
    """The options as the command line has them, by name.

    Raises:
        UserError: A file is not there, or a smoke test would overwrite the evidence.
    """
    quick, out = given["quick"], given["out"]
    if quick and out is None:
        raise UserError(f"--quick needs --out DIR: {DEFAULT_OUT} is for the whole grid.")
    return GridArguments(
        regime=tuple(name for name in REGIMES if name in (given["regime"] or REGIMES)),
        seeds=given["seeds"] or (1 if quick else None),
        cycle_s=given["cycle_s"] or (QUICK_CYCLE_S if quick else CYCLE_S),
        jobs=given["jobs"] or os.cpu_count() or 1,
        sharegpt=lengths_found("sharegpt", given["sharegpt"]),
        azure=lengths_found("azure", given["azure"]),
        out=out or DEFAULT_OUT,
        quick=quick,
        partial=given["partial"],
        redraw=given["redraw"],
    )


def lengths_found(name: str, given: Path | None) -> Path | None:
    """The file to draw lengths from; only the default may be missing."""
    path = given or DEFAULT_LENGTHS[name]
    if given is None and not path.exists():
        return None
    return path
