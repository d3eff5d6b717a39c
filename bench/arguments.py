"""What `andes bench` was asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import typer

from bench.errors import UserError
from bench.load import BurstShape

SYNTHETIC_ONLY = (
    "rate",
    "intensity",
    "burst_share",
    "cycle_s",
    "input_tokens",
    "output_tokens",
)
_SHAPE = BurstShape()


class BenchArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes bench` was asked to do; every default of the command stands here."""

    url: str = "http://127.0.0.1:8000/v1"
    model: str | None = None
    trace: Path | None = None
    synthetic: bool = False
    start_s: float = 0.0
    duration_s: float | None = None
    rate_scale: float = 1.0
    time_scale: float = 1.0
    rate: float = _SHAPE.rate
    intensity: float = _SHAPE.intensity
    burst_share: float = _SHAPE.burst_share
    cycle_s: float = _SHAPE.cycle_s
    input_tokens: int = _SHAPE.input_tokens
    output_tokens: int = _SHAPE.output_tokens
    profile: str = "reading"
    ttft_s: float | None = None
    tds: float | None = None
    patience_s: float | None = None
    max_context_tokens: int | None = None
    max_output_tokens: int | None = None
    seed: int = 0
    ignore_eos: bool = True
    label: str = "this run"
    json: Path | None = None
    plot: Path | None = None
    metrics_port: int | None = None

    def __post_init__(self) -> None:
        require_one_load(self.trace, self.synthetic)


def require_one_load(trace: Path | None, synthetic: bool) -> None:
    """Refuse a command without a load, or with two.

    Raises:
        UserError: There is not exactly one of --trace and --synthetic.
    """
    if (trace is None) == (not synthetic):
        given = "both" if synthetic else "neither"
        raise UserError(
            f"give exactly one of --trace FILE and --synthetic; there is {given}."
        )


def refuse_synthetic_options(
    ctx: typer.Context, names: Sequence[str] = SYNTHETIC_ONLY
) -> None:
    """With a trace, options that shape a synthetic load would have no effect.

    Raises:
        UserError: One of `names` is on the command line.
    """
    for name in names:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} shapes a synthetic load and has no effect on a trace.")
