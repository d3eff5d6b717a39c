"""QoE of many streams at the end of a horizon, served or waiting, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def score(area: Floats, expected_area: Floats) -> Floats:
    """Area QoE, elementwise: 1 while nothing is expected yet."""
    nothing_due = expected_area <= 0.0
    ratio: Floats = np.minimum(area / (expected_area + nothing_due), 1.0)
    ratio[nothing_due] = 1.0
    return ratio


@dataclass(frozen=True, slots=True)
class Forecast:
    """Where n streams stand at `now_s`, as far as `end_s` depends on it. Shapes (n,).

    Attributes:
        now_s: Time of the forecast.
        end_s: End of the horizon.
        tds: Pace of each reader, tokens/s.
        buffered_until_s: When its buffer runs dry without deliveries, >= `now_s`.
        buffered_area: Area digested by `end_s` without deliveries, token·seconds.
        expected_area: Area expected by `end_s`, token·seconds.
    """

    now_s: float
    end_s: float
    tds: Floats
    buffered_until_s: Floats
    buffered_area: Floats
    expected_area: Floats

    def waiting(self) -> Floats:
        """Area QoE at `end_s` if nothing is delivered until then."""
        return score(self.buffered_area, self.expected_area)

    def served(self, start_delay_s: Floats, tokens_per_s: float) -> Floats:
        """Area QoE at `end_s` if tokens come at a steady rate.

        Args:
            start_delay_s: Seconds until the first of the new tokens, shape (n,).
            tokens_per_s: Rate from then on, > 0. Exact at or above the reader's pace; below
                it, right to within one token's area.
        """
        first_s = start_delay_s + self.now_s
        reading_s = np.maximum(self.buffered_until_s, first_s)
        fresh_s = np.maximum(self.end_s - reading_s, 0.0)
        if tokens_per_s >= self.tds.max(initial=0.0):
            # The buffer never runs dry again: every reader goes on at its own pace.
            gained = self.tds * fresh_s**2 / 2.0
        else:
            gained = self._gained_below_pace(reading_s - first_s, fresh_s, tokens_per_s)
        return score(self.buffered_area + gained, self.expected_area)

    def _gained_below_pace(
        self, head_start_s: Floats, fresh_s: Floats, tokens_per_s: float
    ) -> Floats:
        """Area from new tokens that come more slowly than some readers read.

        A reader goes on at its pace while the head start lasts, then follows the engine.
        """
        slowness = np.maximum(self.tds / tokens_per_s - 1.0, 1e-12)
        at_pace_s = np.minimum(head_start_s / slowness, fresh_s)
        at_pace_s = np.where(self.tds > tokens_per_s, at_pace_s, fresh_s)
        starved_s = fresh_s - at_pace_s
        rate = np.minimum(self.tds, tokens_per_s)
        at_pace = self.tds * at_pace_s * (fresh_s - at_pace_s / 2.0)
        starved = rate * starved_s**2 / 2.0
        # A token is read faster than the next one comes: the staircase runs this much above
        # the straight line of the mean rate.
        staircase = (1.0 - rate / self.tds) / 2.0 * starved_s
        gained: Floats = at_pace + starved + staircase
        return gained
