"""What a reader expects of a text stream, and the paces people read and listen at."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

TTFT_RANGE_S = (0.01, 600.0)
TDS_RANGE = (0.01, 1000.0)
WEIGHT_RANGE = (0.01, 100.0)
PATIENCE_RANGE_S = (0.01, 3600.0)


class ExpectationError(ValueError):
    """A QoE field was refused; `str()` is one sentence for the person who sent it.

    Attributes:
        field: Name of the offending field, as a sentence may have it.
        value: The value as it was received.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = named(field)
        super().__init__(f"{self.field}={shown(value)} is invalid: it must be {expected}.")
        self.value = value


def require_in_range(
    field: str, value: object, limits: tuple[float, float], unit: str
) -> float:
    """`value` as a float, or an `ExpectationError` naming field, value and range."""
    low, high = limits
    # NaN fails every comparison, and an int of any size compares without overflowing.
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and low <= value <= high
    ):
        return float(value)
    raise ExpectationError(field, value, f"a number from {low:g} to {high:g} {unit}")


def shown(value: object) -> str:
    """`value` as a sentence quotes it: on one line of at most 40 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # An int of more digits than Python writes, or what nests too deep.
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else f"{text[:37]}..."


def named(field: str) -> str:
    """The name that somebody chose for a field, quoted where it does not fit in a line."""
    return field if field.isprintable() and 0 < len(field) <= 40 else shown(field)


@dataclass(frozen=True, slots=True)
class Expectation:
    """First token within `ttft_s` seconds, then `tds` tokens a second (paper, 3.1).

    Attributes:
        weight: What this reader counts for when not everybody can be served; 1 is one
            reader.
        patience_s: Without a token by then the client would rather be refused; None for
            one that waits for as long as it takes.

    Raises:
        ExpectationError: A value is not a finite number within `TTFT_RANGE_S`, `TDS_RANGE`,
            `WEIGHT_RANGE` or `PATIENCE_RANGE_S`.
    """

    ttft_s: float
    tds: float
    weight: float = 1.0
    patience_s: float | None = None

    def __post_init__(self) -> None:
        require_in_range("ttft_s", self.ttft_s, TTFT_RANGE_S, "seconds")
        require_in_range("tds", self.tds, TDS_RANGE, "tokens/s")
        require_in_range("weight", self.weight, WEIGHT_RANGE, "readers")
        if self.patience_s is not None:
            require_in_range("patience_s", self.patience_s, PATIENCE_RANGE_S, "seconds")


@dataclass(frozen=True, slots=True)
class Profile:
    """A named kind of reader: the expectation used for it, and its population.

    Attributes:
        expectation: What a stream of this profile is scheduled for.
        mix: (share, tokens/s) of each group of the population; shares sum to 1.
    """

    expectation: Expectation
    mix: tuple[tuple[float, float], ...]

    def sample(self, rng: random.Random) -> Expectation:
        """One reader drawn from the population; the TTFT is the profile's."""
        shares, paces = zip(*self.mix, strict=True)
        (tds,) = rng.choices(paces, weights=shares)
        return Expectation(self.expectation.ttft_s, tds)


# Shares and paces: the paper's tables of reading speed by age (18-24, 25-44, 45-54,
# 55-64, 65+) and speaking speed by language (English, Chinese, Korean, French, Spanish).
_READING_MIX = ((0.28, 5.10), (0.52, 4.35), (0.11, 4.17), (0.06, 4.02), (0.03, 3.79))
_LISTENING_MIX = ((0.79, 3.23), (0.07, 6.67), (0.07, 5.26), (0.04, 6.67), (0.03, 7.69))

# Nobody watches the tokens of a batch job or an agent. A patient, slow reader says so in
# the same numbers, and counts for little: it takes what every person leaves, the longest
# waiting first, so that it is not forgotten either.
_NO_READER = Expectation(ttft_s=60.0, tds=0.1, weight=0.1)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "reading": Profile(Expectation(ttft_s=1.0, tds=4.8), _READING_MIX),
        "listening": Profile(Expectation(ttft_s=1.0, tds=3.3), _LISTENING_MIX),
        "none": Profile(_NO_READER, ((1.0, _NO_READER.tds),)),
    }
)
