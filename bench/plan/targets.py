"""What readers are to get: `mean>=0.95`, `p5>=0.8`, `share>=0.9`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from bench.errors import Limits, UserError, shown
from bench.scores import Quality

METRICS: Mapping[str, Callable[[Quality], float]] = {
    "mean": lambda quality: quality.mean_qoe_area,
    "p5": lambda quality: quality.p5_qoe_area,
    "share": lambda quality: quality.share_qoe_area_ge_0_95,
}
WORDS: Mapping[str, str] = {
    "mean": "mean area QoE",
    "p5": "5th percentile of the area QoE",
    "share": "share of streams with an area QoE of at least 0.95",
}
FORM = "METRIC>=VALUE"
_VALUE = Limits(0.01, 1, "")


class Target(msgspec.Struct, frozen=True):
    """The least that one number of a run may be.

    Attributes:
        metric: One of `METRICS`.
        at_least: Above 0, at most 1.
    """

    metric: str
    at_least: float

    @property
    def label(self) -> str:
        """As it is asked for."""
        return f"{self.metric}>={self.at_least:g}"

    def value(self, quality: Quality) -> float:
        """The number it is about."""
        return METRICS[self.metric](quality)

    def is_met(self, quality: Quality) -> bool:
        return self.value(quality) >= self.at_least


def parse_target(flag: str, text: str) -> Target:
    """The target that `text` spells.

    Raises:
        UserError: It spells none; the message names the flag, the text and its form.
    """
    given = f"{flag} {shown(text)}"
    parts = re.fullmatch(r"\s*(\w+)\s*>=\s*(\S+)\s*", text)
    if parts is None or parts[1] not in METRICS:
        raise UserError(
            f"{given} is invalid: it must be {FORM}, as 'mean>=0.95', and METRIC one of "
            f"{', '.join(METRICS)}."
        )
    return Target(parts[1], _VALUE.parse(f"{given}: VALUE", parts[2]))
