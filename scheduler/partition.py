"""What a plan makes of an engine's requests: indices become who comes, stays and goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from scheduler.snapshot import Ints, Plan

Request = TypeVar("Request")


@dataclass(frozen=True, slots=True)
class Partition(Generic[Request]):
    """Every request of the engine, by what the plan makes of it.

    Attributes:
        offered: Waiting, and the engine may admit them, in this order.
        withheld: Waiting, and not on offer, in the order they waited in.
        victims: Running, and to be given up before the step.
        kept: Running on, most valuable first.
    """

    offered: list[Request]
    withheld: list[Request]
    victims: list[Request]
    kept: list[Request]

    @property
    def leaves_work(self) -> bool:
        """Whether the engine has anybody to serve or to admit in this step."""
        return bool(self.offered or self.kept)


def partition(
    plan: Plan, running: Sequence[Request], waiting: Sequence[Request]
) -> Partition[Request]:
    """Apply the indices of `plan` to the lists it was made for.

    Raises:
        ValueError: The plan names more or fewer running streams than there are.
    """
    if plan.keep.size + plan.preempt.size != len(running):
        raise ValueError("a plan must keep or preempt every running stream")
    is_withheld = np.ones(len(waiting), dtype=np.bool_)
    is_withheld[plan.admit] = False
    return Partition(
        offered=_picked(waiting, plan.admit),
        withheld=_picked(waiting, np.flatnonzero(is_withheld)),
        victims=_picked(running, plan.preempt),
        kept=_picked(running, plan.keep),
    )


def _picked(requests: Sequence[Request], indices: Ints) -> list[Request]:
    return list(map(requests.__getitem__, indices.tolist()))
