"""What goes wrong in a fleet, and when: `--at '60 kill 2'`. No vLLM here."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from bench.errors import Limits, UserError, shown

FaultKind = Literal["kill", "slow", "drain", "partition-reports", "heal-reports"]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
FORM = "SECONDS KIND REPLICA, or SECONDS slow REPLICA SPEED"

_AT_S = Limits(0, 1_000_000, "seconds")
_SPEED = Limits(0.01, 100, "times its profile's speed")


class Fault(msgspec.Struct, frozen=True):
    """One thing that happens to one replica.

    Attributes:
        kind: `kill` ends the replica; `slow` sets its speed; `drain` has it finish what it
            has; `partition-reports` hides it from all routers until `heal-reports`.
        speed: Of `slow`, over the profile's: 0.5 is half as fast, 1 is as before.
    """

    at_s: float
    kind: FaultKind
    replica: int
    speed: float = 1.0


def parse_fault(flag: str, text: str) -> Fault:
    """The fault that `text` spells, on any replica.

    Raises:
        UserError: It is none; the message names the flag, the text and what it must be.
    """
    given = f"{flag} {shown(text)}"
    words = text.split()
    kind = next((k for k in KINDS if words[1:2] == [k]), None)
    if kind is None or len(words) != (4 if kind == "slow" else 3):
        raise UserError(
            f"{given} is invalid: it must be {FORM}, and KIND one of {', '.join(KINDS)}."
        )
    at_s = _AT_S.parse(f"{given}: SECONDS", words[0])
    replica = int(Limits(0, 1023, "", whole=True).parse(f"{given}: REPLICA", words[2]))
    speed = _SPEED.parse(f"{given}: SPEED", words[3]) if kind == "slow" else 1.0
    return Fault(at_s, kind, replica, speed)
