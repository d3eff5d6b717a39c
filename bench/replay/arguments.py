"""What `andes replay` was asked to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.arguments import require_one_load
from bench.errors import UserError, shown
from bench.fleet.arguments import Fleet, take_fleet
from bench.load import BurstShape
from bench.replay.profiles import DEFAULT_PROFILE
from router.settings import PolicyName

TTFT_BY_INPUT = "input/5000"
DEFAULT_SCHEDULERS = ("fcfs", "andes")
PACES = ("reading", "listening")
# With a trace, --rate stretches time; these have no effect.
SYNTHETIC_ONLY = ("intensity", "burst_share", "cycle_s")
_SHAPE = BurstShape()


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one engine; the default of every option stands here.

    Attributes:
        trace: Where arrivals and lengths come from; None where the load is synthetic.
        synthetic: The load is drawn.
        lengths: Where lengths are drawn from instead.
        rate: Mean requests/s; None is the trace's own, or `BurstShape`'s.
        duration_s: Arrivals after it are left out; None is the trace, or one cycle.
        profile: Name of the latency profile.
        kv_tokens: KV memory; None is the profile's.
        resume: How a preempted stream gets its KV back.
        ttft_s: When readers expect the first token: seconds, or `TTFT_BY_INPUT`.
        tds: Their pace: tokens/s, or the name of a population in `PACES`.
        patience_s: Without a token by then they are refused; None for never.
        settings: Overridden fields of `SchedulerSettings`, still unchecked.
    """

    trace: Path | None = None
    synthetic: bool = False
    lengths: Path | None = None
    rate: float | None = None
    intensity: float = _SHAPE.intensity
    burst_share: float = _SHAPE.burst_share
    cycle_s: float = 1200.0
    duration_s: float | None = None
    profile: str = DEFAULT_PROFILE
    kv_tokens: int | None = None
    resume: str = "recompute"
    ttft_s: float | str = 1.0
    tds: float | str = "reading"
    patience_s: float | None = None
    seed: int = 0
    settings: dict[str, str] = {}

    def __post_init__(self) -> None:
        require_one_load(self.trace, self.synthetic)


class Cell(Scenario, frozen=True, kw_only=True):
    """A scenario under one scheduler: all that one run needs."""

    scheduler: str = "andes"


class ReplayArguments(Scenario, frozen=True, kw_only=True):
    """A scenario under several schedulers, and where to write what came of it.

    Attributes:
        fleet: The replicas behind each router; None is one engine and no router.
        router: Routing policies, each with every scheduler.
        page: Where to compare the autoscalers; its picture goes beside it.
    """

    scheduler: tuple[str, ...] = DEFAULT_SCHEDULERS
    fleet: Fleet | None = None
    router: tuple[PolicyName, ...] = ()
    json: Path | None = None
    plot: Path | None = None
    page: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.page is not None and not (self.fleet and self.fleet.autoscale):
            raise UserError("--page has no effect without --autoscale.")

    def cell(self, scheduler: str) -> Cell:
        """The run of one of the schedulers."""
        scenario = {name: getattr(self, name) for name in Scenario.__struct_fields__}
        return Cell(**scenario, scheduler=scheduler)


def replay_arguments(given: Mapping[str, Any]) -> ReplayArguments:
    """The options as the command line has them, by name.

    Raises:
        UserError: There is not exactly one load, a `--set` is not KEY=VALUE, or the options
            of a fleet do not fit each other.
    """
    options = dict(given)
    fleet, routers = take_fleet(options)
    return ReplayArguments(
        **{
            **options,
            "fleet": fleet,
            "router": routers,
            "scheduler": tuple(options["scheduler"] or DEFAULT_SCHEDULERS),
            "settings": overrides_of(options["settings"] or ()),
        }
    )


def overrides_of(texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a dict; the last of several for one key counts."""
    overrides = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise UserError(f"--set {shown(text)} is invalid: it must be KEY=VALUE.")
        overrides[key.strip()] = value.strip()
    return overrides
