"""What the demo measured: pairs of runs, and how their load was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from bench.demo.probe import Probe
from bench.errors import UserError
from bench.results import Environment, Summary

POLICIES = ("fcfs", "andes")
Metric = Callable[[Summary], float]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one scheduler; runs of a pair followed one another."""

    policy: str
    pair: int
    summary: Summary


class Tried(msgspec.Struct, frozen=True):
    """A rate, requests/s, that turned out wrong, and the mean area QoE of fcfs there."""

    rate: float
    mean_qoe_area: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo measured.

    Attributes:
        command: The command that makes it again.
        load: What was sent, in one sentence.
        arguments: Every setting of the demo.
        environment: Commit and machine.
        runs: All runs that count, in the order they were made.
        rate: Mean request rate sent, requests/s; None in files from before it was chosen.
        probe: What the machine served; None where the rate was given.
        corrected: The rate that was chosen first, where it was chosen again.
    """

    command: str
    load: str
    arguments: dict[str, object]
    environment: Environment
    runs: Sequence[Run]
    rate: float | None = None
    probe: Probe | None = None
    corrected: Tried | None = None

    def values(self, policy: str, metric: Metric) -> list[float]:
        """The metric of each run of `policy`, by pair."""
        runs = sorted(self.runs, key=lambda run: run.pair)
        return [metric(run.summary) for run in runs if run.policy == policy]

    def ratios(self, metric: Metric) -> list[float]:
        """Andes over FCFS within each pair; NaN where FCFS has 0."""
        fcfs, andes = (np.array(self.values(policy, metric)) for policy in POLICIES)
        return [a / f if f else float("nan") for f, a in zip(fcfs, andes, strict=True)]


def read_comparison(path: Path) -> Comparison:
    """What the demo wrote.

    Raises:
        UserError: There is no such file, or it is another.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Comparison)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}.") from error
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: not a result of andes demo ({error}).") from error
