"""Scores of one finished stream, from the times its tokens were delivered.

Times are seconds since the request was submitted. Every score is in [0, 1]; 1 means the
reader was never behind, and being faster than the reader adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qoe.expectation import Expectation

Floats = npt.NDArray[np.float64]


def area_qoe(delivered_at_s: Sequence[float] | Floats, expectation: Expectation) -> float:
    """Area under the digestion curve over the area under the expected one (paper, v1).

    The reader starts with the first token, digests at most `tds` tokens/s; both areas end
    with the last delivery. A stream that delivered nothing scores 0.

    Raises:
        ValueError: The times are negative, not finite, or not in order.
    """
    delivered = _checked(delivered_at_s)
    if delivered.size == 0:
        return 0.0
    end_s = float(delivered[-1])
    expected = expected_area(end_s, delivered.size, expectation)
    if expected == 0.0:
        return 1.0
    starts = digestion_starts(delivered, expectation.tds)
    reading_s = np.maximum(end_s - starts, 0.0)
    token_s = 1.0 / expectation.tds
    area = np.where(
        reading_s < token_s,
        reading_s**2 * expectation.tds / 2.0,
        reading_s - token_s / 2.0,
    ).sum()
    return float(min(1.0, area / expected))


def delay_qoe(delivered_at_s: Sequence[float] | Floats, expectation: Expectation) -> float:
    """1 − S_delay / S_whole = Σ ideal / Σ actual digestion times (paper v2, eq. 3).

    A stream that delivered nothing scores 0.

    Raises:
        ValueError: The times are negative, not finite, or not in order.
    """
    delivered = _checked(delivered_at_s)
    if delivered.size == 0:
        return 0.0
    ideal = expectation.ttft_s + np.arange(delivered.size) / expectation.tds
    actual = digestion_starts(np.maximum(delivered, expectation.ttft_s), expectation.tds)
    return float(min(1.0, ideal.sum() / actual.sum()))


def stall_s(delivered_at_s: Sequence[float] | Floats, expectation: Expectation) -> float:
    """Seconds the reader sat with nothing to read between the first and the last token.

    Raises:
        ValueError: The times are negative, not finite, or not in order.
    """
    delivered = _checked(delivered_at_s)
    if delivered.size < 2:
        return 0.0
    starts = digestion_starts(delivered, expectation.tds)
    stalled_s = starts[-1] - starts[0] - (delivered.size - 1) / expectation.tds
    # Rounding must not make a reader who never sat there sit for less than nothing.
    return max(float(stalled_s), 0.0)


def digestion_starts(delivered_at_s: Floats, tds: float) -> Floats:
    """s_i = max(d_i, s_{i-1} + 1/tds): when the reader gets to each token, shape (n,)."""
    paced = np.arange(delivered_at_s.size) / tds
    starts: Floats = np.maximum.accumulate(delivered_at_s - paced) + paced
    return starts


def expected_area(end_s: float, num_tokens: float, expectation: Expectation) -> float:
    """∫₀ᵉⁿᵈ min(tds·(t − ttft)⁺, n) dt, in token·seconds."""
    late_s = max(0.0, end_s - expectation.ttft_s)
    ramp_s = min(late_s, num_tokens / expectation.tds)
    return expectation.tds * ramp_s**2 / 2.0 + num_tokens * (late_s - ramp_s)


def _checked(delivered_at_s: Sequence[float] | Floats) -> Floats:
    delivered = np.asarray(delivered_at_s, dtype=np.float64)
    if delivered.size and (
        not np.isfinite(delivered).all()
        or delivered[0] < 0.0
        or (np.diff(delivered) < 0.0).any()
    ):
        raise ValueError("delivered_at_s must be finite, not negative and in order")
    return delivered
