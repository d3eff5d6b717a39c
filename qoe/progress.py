"""What the reader of a resumed stream has had of it already."""

from __future__ import annotations

from dataclasses import dataclass

from qoe.expectation import Expectation


@dataclass(frozen=True, slots=True)
class Progress:
    """A stream as it was when its continuation was asked for.

    Attributes:
        tokens: Tokens that its reader has received, >= 0.
        age_s: Seconds since its reader first asked, >= 0.
        slack_s: Seconds of text that the reader had still to read; negative for a reader
            who had waited that long. None: as if the tokens had come when expected.
    """

    tokens: int = 0
    age_s: float = 0.0
    slack_s: float | None = None

    def read_until_s(self, expectation: Expectation, asked_at_s: float) -> float:
        """When the reader is through with `tokens`, > 0, on the clock of `asked_at_s`."""
        reading_s = self.tokens / expectation.tds
        if self.slack_s is not None:
            # Nobody has more to read than was ever received.
            return asked_at_s + min(self.slack_s, reading_s)
        return asked_at_s - max(self.age_s - expectation.ttft_s, 0.0) + reading_s


FRESH = Progress()
