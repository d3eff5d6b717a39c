"""The fewest replicas that do, by as few runs as that takes. Pure: it runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where the answer lies: above `fails`, at most at `does`.

    It is assumed that more replicas never serve readers worse. Where they do, the answer
    is a number that does and has a neighbour below that does not.

    Attributes:
        fails: The largest number known not to do; 0 without any.
        does: The smallest known to do; one above the most allowed without any.
    """

    fails: int
    does: int

    @classmethod
    def of(cls, outcomes: Mapping[int, bool], most: int) -> Bracket:
        """After these outcomes by number of replicas, of which `most` are allowed."""
        does = min((n for n, ok in outcomes.items() if ok), default=most + 1)
        fails = max((n for n, ok in outcomes.items() if not ok and n < does), default=0)
        return cls(fails, does)

    @property
    def is_closed(self) -> bool:
        """Whether there is nothing left to try."""
        return self.does - self.fails <= 1

    def probes(self, count: int) -> list[int]:
        """Up to `count` numbers to try next: they cut the bracket into equal parts."""
        gap = self.does - self.fails
        count = min(count, gap - 1)
        return [self.fails + gap * i // (count + 1) for i in range(1, count + 1)]


def is_monotone(values: Mapping[int, float], tolerance: float) -> bool:
    """Whether no number of replicas is worse than a smaller one, but for `tolerance`."""
    best = float("-inf")
    for number in sorted(values):
        if values[number] < best - tolerance:
            return False
        best = max(best, values[number])
    return True
