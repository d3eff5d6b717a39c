"""Who is in the fleet, and since when: replicas start, serve, leave, and hold GPUs."""

from __future__ import annotations

from dataclasses import dataclass

from bench.fleet.results import ScaleStep
from telemetry.report import EngineReport

# A step list as long as this tells no more by being longer.
MAX_STEPS = 2000


@dataclass(slots=True, eq=False)
class Member:
    """One replica, as the fleet sees it.

    Attributes:
        is_alive: Not killed, and not gone for good.
        is_leaving: No router sends it anything; it finishes what it has.
        is_reachable: Its reports reach the routers.
        streams: Sent to it, and neither ended nor taken back.
        last_report: The newest it has published; None before the first.
    """

    number: int
    is_alive: bool = True
    is_leaving: bool = False
    is_reachable: bool = True
    streams: int = 0
    last_report: EngineReport | None = None


@dataclass(slots=True, eq=False)
class Lease:
    """The GPUs of one replica, from its order to its end.

    Attributes:
        member: None while it starts.
        until_s: None while it holds them.
    """

    since_s: float
    member: Member | None = None
    until_s: float | None = None


class Members:
    """The replicas of a fleet, from the order of each to its end.

    Invariants:
        A replica holds its GPUs while it starts, while it serves, and while it finishes
            what it has.
        Numbers are given in the order of joining, and never twice.

    Attributes:
        all: Who ever served, by number.
        steps: How many started, served and were leaving, whenever that changed.
        steps_left_out: Changes beyond `MAX_STEPS`.
    """

    def __init__(self) -> None:
        self.all: list[Member] = []
        self.steps: list[ScaleStep] = []
        self.steps_left_out = 0
        self._leases: list[Lease] = []

    @property
    def serving(self) -> list[Member]:
        """Those that may be sent a stream."""
        return [m for m in self.all if m.is_alive and not m.is_leaving]

    @property
    def starting(self) -> list[Lease]:
        """Those ordered and not there yet, oldest first."""
        return [x for x in self._leases if x.member is None and x.until_s is None]

    def order(self, now_s: float) -> Lease:
        """Ask for one replica more."""
        self._leases.append(Lease(now_s))
        self._note(now_s)
        return self._leases[-1]

    def cancel(self, lease: Lease, now_s: float) -> None:
        """It is needed no more, before it was there."""
        lease.until_s = now_s
        self._note(now_s)

    def join(self, lease: Lease, now_s: float) -> Member:
        """It is there, and serves."""
        member = lease.member = Member(len(self.all))
        self.all.append(member)
        self._note(now_s)
        return member

    def leave(self, member: Member, now_s: float) -> None:
        """It serves what it has, and nothing else."""
        member.is_leaving = True
        self._note(now_s)

    def gone(self, member: Member, now_s: float) -> None:
        """It holds nothing any more."""
        member.is_alive = False
        for lease in self._leases:
            if lease.member is member and lease.until_s is None:
                lease.until_s = now_s
        self._note(now_s)

    def held_s(self, end_s: float) -> float:
        """Seconds that all replicas together have held their GPUs by the end of the run."""
        ends_s = (end_s if x.until_s is None else x.until_s for x in self._leases)
        return sum(
            max(min(until_s, end_s) - lease.since_s, 0.0)
            for until_s, lease in zip(ends_s, self._leases, strict=True)
        )

    def _note(self, now_s: float) -> None:
        step = ScaleStep(
            at_s=now_s,
            starting=len(self.starting),
            serving=len(self.serving),
            leaving=sum(m.is_alive and m.is_leaving for m in self.all),
        )
        if self.steps and self.steps[-1].at_s == now_s:
            self.steps[-1] = step
        elif len(self.steps) < MAX_STEPS:
            self.steps.append(step)
        else:
            self.steps_left_out += 1
