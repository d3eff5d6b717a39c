"""What a plan comes to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.errors import UserError
from bench.plan.contenders import Contender
from bench.plan.search import Bracket, is_monotone
from bench.plan.targets import Target
from bench.results import Environment
from bench.scores import Quality

# Two runs that differ in the number of replicas differ by luck as well.
TOLERANCE = 0.01


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One fleet that was tried.

    Attributes:
        gpu_seconds: That its replicas held GPUs, until the last token.
        failed: Streams that were not served whole.
    """

    replicas: int
    quality: Quality
    makespan_s: float
    gpu_seconds: float
    failed: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one contender needs.

    Attributes:
        replicas: The fewest that meet every target; None where too few are allowed.
        gpus: Of these replicas.
        gpu_hours: Of these for as long as requests arrive.
        probes: Every fleet tried, the smallest first.
    """

    contender: Contender
    replicas: int | None
    gpus: int | None
    gpu_hours: float | None
    probes: tuple[Probe, ...]

    @property
    def chosen(self) -> Probe | None:
        """The run with the fewest replicas that do."""
        return next((p for p in self.probes if p.replicas == self.replicas), None)

    def best(self, target: Target) -> Probe:
        """The run that came closest to a target."""
        return max(self.probes, key=lambda probe: target.value(probe.quality))

    def is_monotone(self, target: Target) -> bool:
        """Whether more replicas were never worse, as the search takes for granted."""
        values = {p.replicas: target.value(p.quality) for p in self.probes}
        return is_monotone(values, TOLERANCE)


class PlanResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes plan --json` writes.

    Attributes:
        command: What makes it again, files by name.
        gpus_per_replica: Of the profile.
        requests: In the load.
        hours: From the first to the last arrival.
    """

    command: str
    arguments: dict[str, object]
    environment: Environment
    gpus_per_replica: int
    requests: int
    hours: float
    targets: tuple[Target, ...]
    outcomes: tuple[Outcome, ...]


def outcome_of(
    contender: Contender,
    probes: Sequence[Probe],
    targets: Sequence[Target],
    *,
    most: int,
    gpus_per_replica: int,
    hours: float,
) -> Outcome:
    """What the runs of a contender say, of which at most `most` replicas are allowed."""
    found = bracket(probes, targets, most).does
    replicas = found if found <= most else None
    gpus = None if replicas is None else replicas * gpus_per_replica
    return Outcome(
        contender=contender,
        replicas=replicas,
        gpus=gpus,
        gpu_hours=None if gpus is None else gpus * hours,
        probes=tuple(sorted(probes, key=lambda probe: probe.replicas)),
    )


def bracket(probes: Sequence[Probe], targets: Sequence[Target], most: int) -> Bracket:
    """What is left to try after these runs."""
    outcomes = {p.replicas: all(t.is_met(p.quality) for t in targets) for p in probes}
    return Bracket.of(outcomes, most)


def read_plan(path: Path) -> PlanResult:
    """A plan as `--json` wrote it.

    Raises:
        UserError: It cannot be read, or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=PlanResult)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} cannot be read as a plan: {error}.") from None
