"""Mistakes a person at the terminal can mend, and the check behind most of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

# The exit code of a command that Ctrl-C or SIGTERM stopped.
INTERRUPTED = 130


class UserError(Exception):
    """`str()` is one sentence for the person at the terminal; no traceback is wanted.

    Attributes:
        exit_code: 2 where the command line or a file is wrong, 1 where the run failed.
    """

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Limits:
    """The values a number may take, both ends included."""

    low: float
    high: float
    unit: str
    whole: bool = False

    def parse(self, name: str, text: object) -> float:
        """The number that `text` spells.

        Raises:
            UserError: It is no number or out of range; the message names `name`, the text
                and the range.
        """
        try:
            value = int(str(text)) if self.whole else float(str(text))
        except ValueError:
            value = math.nan
        # NaN fails every comparison.
        if self.low <= value <= self.high:
            return value
        raise UserError(f"{name}={shown(text)} is invalid: it must be {self}.")

    def __str__(self) -> str:
        kind = "whole number" if self.whole else "number"
        return f"a {kind} from {self.low:,} to {self.high:,} {self.unit}".rstrip()


def shown(value: object) -> str:
    """`value` as a message quotes it: on one line of at most 40 characters."""
    text = " ".join(str(value).split()) or "''"
    if not text.isprintable():
        # A terminal would obey it.
        text = text.encode("unicode_escape").decode()
    return text if len(text) <= 40 else f"{text[:37]}..."
