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
        token_budget: Most tokens of the step, >= 1; None leaves it to the engine.
    """

    offered: list[Request]
    withheld: list[Request]
    victims: list[Request]
    kept: list[Request]
    token_budget: int | None

    @property
    def leaves_work(self) -> bool:
        """Whether the engine has anybody to serve or to admit in this step."""
        return bool(self.offered or self.kept)


def partition(
    plan: Plan, running: Sequence[Request], waiting: Sequence[Request]
) -> Partition[Request]:
    """Apply the indices of `plan` to the lists it was made for.

    Policies come from anywhere: an engine that ran somebody twice, or lost somebody, or
    had no token to compute, would stop.

    Raises:
        ValueError: The plan does not name every running stream once, names a waiting one
            twice or one that is not there, or leaves the step no token.
    """
    named = _times_named(np.concatenate((plan.keep, plan.preempt)), len(running))
    if (named != 1).any():
        raise ValueError("a plan must keep or preempt every running stream, and once")
    admitted = _times_named(plan.admit, len(waiting))
    if (admitted > 1).any():
        raise ValueError("a plan must admit a waiting stream once at most")
    budget = plan.token_budget
    if budget is not None and budget < 1:
        raise ValueError(f"token_budget={budget} of a plan must be at least 1")
    return Partition(
        offered=_picked(waiting, plan.admit),
        withheld=_picked(waiting, np.flatnonzero(admitted == 0)),
        victims=_picked(running, plan.preempt),
        kept=_picked(running, plan.keep),
        # What comes out of numpy must not travel into vLLM's own counts.
        token_budget=None if budget is None else int(budget),
    )


def _times_named(indices: Ints, count: int) -> Ints:
    """How often each of `count` streams is named.

    Raises:
        ValueError: An index is none of theirs.
    """
    named = np.bincount(indices, minlength=count)
    if named.size > count:
        raise ValueError(f"a plan names stream {named.size - 1} of {count}")
    return named


def _picked(requests: Sequence[Request], indices: Ints) -> list[Request]:
    return list(map(requests.__getitem__, indices.tolist()))
