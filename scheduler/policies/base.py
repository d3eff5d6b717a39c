"""What every policy is to the engine."""

from __future__ import annotations

from typing import Protocol

from scheduler.snapshot import Plan, Snapshot


class Policy(Protocol):
    """Decides who runs in the next step. Same snapshot, same plan.

    A policy with an attribute `horizon_s`, seconds > 0, has `Snapshot.forecast` made for
    that horizon.
    """

    def plan(self, snapshot: Snapshot) -> Plan | None:
        """The plan of the next step; None leaves the step to vLLM as it is."""
        ...
