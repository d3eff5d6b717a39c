"""What `andes evidence` runs: who is compared, on which loads, with how many seeds.

The constants below fit about an hour on two cores, of 5 to 15 s a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec

from evidence.ablations import ABLATIONS, CURVE
from evidence.families import TUNING, VALIDATION
from scheduler.settings import SchedulerSettings

LONG_HORIZON = "evidence.baselines.paper:PaperLongHorizon"
_TITLES = {LONG_HORIZON: "andes-paper, 60 s"}
MODES = ("recompute", "offload")


class Load(msgspec.Struct, frozen=True, order=True):
    """A family under an arrival shape; each seed draws it anew."""

    family: str
    shape: str


class Contender(msgspec.Struct, frozen=True):
    """A scheduler as it takes part.

    Attributes:
        policy: One of `bench.replay.schedulers.SCHEDULERS`, or an import string.
        settings: Overridden fields of its settings.
    """

    policy: str
    resume: str = "recompute"
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """As tables of one way to resume call it."""
        title = _TITLES.get(self.policy, self.policy.rpartition(":")[2])
        return " ".join([title, *(f"{key}={value}" for key, value in self.settings)])


class RateJob(msgspec.Struct, frozen=True, tag="rate"):
    """What `fcfs` serves of a family when requests never run out."""

    family: str


class RunJob(msgspec.Struct, frozen=True, tag="run"):
    """One replay."""

    load: Load
    seed: int
    contender: Contender


class BoundJob(msgspec.Struct, frozen=True, tag="bound"):
    """What no schedule of a load exceeds."""

    load: Load
    seed: int


Job = RateJob | RunJob | BoundJob

FCFS = Contender("fcfs")
# fcfs evicts so seldom that its recompute run stands for both.
BASELINES = {
    "recompute": (
        FCFS,
        Contender("round-robin"),
        Contender("lqsf"),
        Contender("tokenflow"),
        Contender("shortest-prompt"),
        Contender("andes-paper"),
        Contender(LONG_HORIZON),
    ),
    "offload": (
        FCFS,
        *(
            Contender(policy, "offload")
            for policy in ("lqsf", "tokenflow", "andes-paper", LONG_HORIZON)
        ),
    ),
}
# They preempt without a limit: where prompts are long, readers stall for an hour of virtual
# time, and a run takes minutes. One seed shows how far behind they are.
_THRASHING = ("round-robin", "lqsf")
PAPER = {mode: Contender("andes-paper", mode) for mode in MODES}
ANDES = {mode: Contender("andes", mode) for mode in MODES}
FEW = (
    FCFS,
    Contender("shortest-prompt"),
    *(contender for mode in MODES for contender in (PAPER[mode], ANDES[mode])),
)

BURST = "burst-2"
LIGHT_SHAPES = ("poisson-0.7", "poisson-0.9")
OTHER_SHAPES = (*LIGHT_SHAPES, "poisson-1.0", "burst-1.5", "burst-3", "plateau")
TUNING_NAMES = tuple(family.name for family in TUNING)
VALIDATION_NAMES = tuple(family.name for family in VALIDATION)
QUICK_FAMILIES = ("short-chat",)


class Part(NamedTuple):
    """Contenders that all run on the same loads."""

    families: Sequence[str]
    shapes: Sequence[str]
    contenders: Sequence[Contender]
    seeds: int


def ablated() -> dict[str, dict[str, Contender]]:
    """The contender of each ablation, by its title and how it resumes."""
    return {
        a.title: {mode: Contender(a.policy, mode, a.settings) for mode in MODES}
        for a in ABLATIONS
    }


def on_curve() -> dict[str, Contender]:
    """The contender of each value of the curve's setting, as far as there is one."""
    if CURVE.setting not in SchedulerSettings.model_fields:
        return {}
    return {
        value: Contender("andes", settings=((CURVE.setting, value),))
        for value in CURVE.values
    }


def parts() -> list[Part]:
    """All that the page shows, the most important first."""
    everybody = [*BASELINES["recompute"], *BASELINES["offload"][1:], *ANDES.values()]
    thrashing = [c for c in everybody if c.policy in _THRASHING]
    others = [c for c in everybody if c not in thrashing]
    without = [contender for modes in ablated().values() for contender in modes.values()]
    return [
        Part(VALIDATION_NAMES, (BURST,), others, 5),
        Part(TUNING_NAMES, (BURST,), FEW, 2),
        Part(VALIDATION_NAMES, (BURST,), list(on_curve().values()), 2),
        Part(VALIDATION_NAMES, (BURST,), without, 3),
        Part(VALIDATION_NAMES, OTHER_SHAPES, FEW, 2),
        Part(VALIDATION_NAMES, (BURST,), thrashing, 1),
    ]


def plan_jobs(
    families: Collection[str], seeds: int | None = None, *, quick: bool = False
) -> list[Job]:
    """Every run and bound, once, though several tables may show it.

    Args:
        families: Names of those to run.
        seeds: At most so many of each load; None is as many as each part has.
        quick: Only the first shape of all.
    """
    jobs = (
        job
        for part in parts()
        for family in part.families
        if family in families and (BURST in part.shapes or not quick)
        for job in _jobs_of(part, family, min(seeds or part.seeds, part.seeds))
    )
    return list(dict.fromkeys(jobs))


def _jobs_of(part: Part, family: str, seeds: int) -> Iterator[Job]:
    for shape in part.shapes:
        for seed in range(seeds):
            load = Load(family, shape)
            for contender in part.contenders:
                yield RunJob(load, seed, contender)
            yield BoundJob(load, seed)
