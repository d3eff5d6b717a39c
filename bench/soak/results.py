"""What a soak has seen, as it is written to `soak.json`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bench.results import Environment

FINISHED, FAILED, LEFT, REFUSED = "finished", "failed", "cancelled", "refused"
ENDINGS = (FINISHED, FAILED, LEFT, REFUSED)


class Break(msgspec.Struct, frozen=True):
    """An attempt that did not bring the answer to its end.

    Attributes:
        at_s: When, from the start of the soak.
        reason: What the client was told, or saw.
    """

    at_s: float
    reason: str


class Silence(msgspec.Struct, frozen=True):
    """A time in which a stream had not a byte, from the start of the soak."""

    from_s: float
    to_s: float


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A request as its client saw it.

    Attributes:
        kind: As it was planned; a bad one by its name.
        ending: One of `ENDINGS`.
        reason: Why it did not finish.
        began_s: When it was sent, from the start of the soak,
        ended_s: and when it ended.
        tokens: What its client received.
        breaks: Attempts that went wrong.
        silences: The long ones.
        difference: Where the tokens are not those of the undisturbed answer; empty if
            they are.
    """

    kind: str
    ending: str
    reason: str
    began_s: float
    ended_s: float
    tokens: int
    breaks: Sequence[Break] = ()
    silences: Sequence[Silence] = ()
    difference: str = ""


class InjectedFault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was broken on purpose.

    Attributes:
        name: One of `plan.FAULTS`.
        at_s: When, from the start of the soak,
        whole_s: and when the service was whole again; None if it never was.
        streams: What the victim had by its last report; None where it is no engine's.
    """

    name: str
    at_s: float
    whole_s: float | None
    streams: int | None = None


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold.

    Attributes:
        name: In a few words.
        held: Whether it did.
        seen: What was counted or measured, and the bound.
    """

    name: str
    held: bool
    seen: str


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What there is when nobody asks for anything.

    Attributes:
        after_s: How long it took.
        busy: Engines that are not at rest, and why.
        on_their_way: Streams in the ledgers of routers.
        processes: By role.
        sockets: By role.
        descriptors: By role.
        files: Temporary ones.
    """

    after_s: float
    busy: Mapping[str, str]
    on_their_way: float
    processes: Mapping[str, int]
    sockets: Mapping[str, int]
    descriptors: Mapping[str, int]
    files: int

    @property
    def is_empty(self) -> bool:
        """Whether nobody thinks that a stream is there."""
        return not self.busy and self.on_their_way == 0.0


class Usage(msgspec.Struct, frozen=True):
    """What a process holds at one moment.

    Attributes:
        at_s: From the start of the soak.
        memory_mib: Resident.
        descriptors: Sockets and all others.
        sockets: Those among them.
        threads: Of the process.
    """

    at_s: float
    memory_mib: float
    descriptors: int
    sockets: int
    threads: int


_SHOWN = 3

# By the name of a process: its role and its pid.
Series = Mapping[str, Sequence[Usage]]


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """A soak in numbers.

    Attributes:
        command: The command that makes it again.
        streaming: How tokens travelled.
        duration_s: How long requests were sent.
        started: Requests that were sent.
        ended: Those that ended.
        faults: What was broken.
        before: The service at rest before the load,
        after: and after it.
        series: What its processes held meanwhile.
        checks: What had to hold.
    """

    command: str
    environment: Environment
    streaming: str
    duration_s: float
    started: int
    ended: Sequence[Ended]
    faults: Sequence[InjectedFault]
    before: Rest
    after: Rest
    series: Series
    checks: Sequence[Check]

    @property
    def held(self) -> bool:
        """Whether everything did."""
        return all(check.held for check in self.checks)


def with_examples(seen: str, examples: Sequence[str]) -> str:
    """What was seen, and some of what should not have been."""
    shown = "; ".join(examples[:_SHOWN])
    rest = f"; and {len(examples) - _SHOWN} more" if len(examples) > _SHOWN else ""
    return f"{seen}: {shown}{rest}" if examples else seen
