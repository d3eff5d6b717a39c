"""Which autoscaler a replay has, and what it needs to know: `qoe`, or `ongoing,KEY=VALUE`.

No Ray here: what its policies are made of takes seconds to import.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

import msgspec

from bench.errors import UserError, shown
from router.replica_load import FleetLoad

ScalingName = Literal["qoe", "ongoing"]
SCALINGS: tuple[ScalingName, ...] = get_args(ScalingName)
FORM = "NAME or NAME,KEY=VALUE,..."


class Scaling(msgspec.Struct, frozen=True):
    """An autoscaler.

    Attributes:
        name: `qoe` is ours; `ongoing` is Ray Serve's own, on ongoing requests.
        settings: Overridden fields of `ScalingSettings`, or of Serve's
            `AutoscalingConfig`; still unchecked.
    """

    name: ScalingName
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """Its name in tables and pictures: as it was asked for."""
        return ",".join([self.name, *(f"{key}={value}" for key, value in self.settings)])


def parse_scaling(flag: str, text: str) -> Scaling:
    """The autoscaler that `text` spells.

    Raises:
        UserError: It spells none; the message names the flag, the text and its form.
    """
    name, *overrides = (part.strip() for part in text.split(","))
    pairs = [part.partition("=") for part in overrides]
    known = next((known for known in SCALINGS if known == name), None)
    if known is None or not all(key and equals for key, equals, _ in pairs):
        raise UserError(
            f"{flag} {shown(text)} is invalid: it must be {FORM}, and NAME one of "
            f"{', '.join(SCALINGS)}."
        )
    return Scaling(known, tuple((key.strip(), value.strip()) for key, _, value in pairs))


class Scaler(Protocol):
    """Says how many replicas there should be, whenever it is asked.

    Attributes:
        period_s: How often that is.
    """

    period_s: float

    @property
    def settings(self) -> dict[str, Any]:
        """All that it goes by, as JSON has it."""

    def target(self, fleet: FleetLoad, replicas: int, now_s: float) -> int:
        """The number from now on.

        Args:
            fleet: What the replicas that serve now report.
            replicas: The number asked for last.
            now_s: Never before the last call's.
        """
