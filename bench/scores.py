"""What readers made of each stream of a run, column by column, and the run in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from qoe import Expectation, area_qoe, delay_qoe, stall_s
from qoe.metrics import Floats

GOOD_QOE = 0.95
# A delay QoE of 1, but for what its sums are rounded by.
NEVER_LATE_QOE = 1.0 - 1e-9


class Ttft(msgspec.Struct, frozen=True):
    """Seconds to the first token; None where no stream delivered any."""

    mean: float | None
    p50: float | None
    p99: float | None


class Stall(msgspec.Struct, frozen=True):
    """Seconds a reader sat with nothing to read after the first token."""

    mean: float
    p99: float
    max: float


class Tds(msgspec.Struct, frozen=True):
    """Tokens/s of a stream after its first token; None where no stream has two tokens."""

    p50: float | None


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """What readers got, over every stream of a run, failed ones included.

    Attributes:
        share_qoe_area_ge_0_95: Part of the streams whose area QoE is 0.95 or more.
        share_never_late: Part of the streams whose tokens all came before their readers
            wanted them; None in files that are older than it.
        tokens_per_s: Tokens delivered from the start of the run to the last one.
        requests: Streams counted.
    """

    mean_qoe_area: float
    p5_qoe_area: float
    share_qoe_area_ge_0_95: float
    mean_qoe_delay: float
    p5_qoe_delay: float
    share_qoe_delay_ge_0_95: float
    ttft_s: Ttft
    stall_s: Stall
    tds: Tds
    tokens_per_s: float
    requests: int
    share_never_late: float | None = None


class Scores:
    """One row for each stream, so that nobody has to keep its delivery times.

    A row that is never scored is a stream that delivered nothing: its QoE is 0.

    Attributes:
        arrival_s: Intended submission, from the start of the run.
        area: Area QoE.
        delay: Delay QoE.
        stall_s: Seconds with nothing to read.
        ttft_s: Seconds to the first token; NaN without one.
        tds: Tokens/s after the first token; NaN without two that came apart.
        tokens: Tokens delivered.
        end_s: The last token, from the start of the run; the arrival without one.
    """

    def __init__(self, arrivals_s: Sequence[float]) -> None:
        self.arrival_s: Floats = np.array(arrivals_s, dtype=np.float64)
        self.area, self.delay, self.stall_s, self.tokens = np.zeros((4, len(self)))
        self.ttft_s, self.tds = np.full((2, len(self)), np.nan)
        self.end_s: Floats = self.arrival_s.copy()

    def __len__(self) -> int:
        return int(self.arrival_s.size)

    def score(
        self, row: int, delivered_at_s: Sequence[float] | Floats, expectation: Expectation
    ) -> None:
        """Score one stream by its delivery times, counted from its arrival.

        Raises:
            ValueError: The times are negative, not finite, or not in order.
        """
        times_s = np.asarray(delivered_at_s, dtype=np.float64)
        self.area[row] = area_qoe(times_s, expectation)
        self.delay[row] = delay_qoe(times_s, expectation)
        self.stall_s[row] = stall_s(times_s, expectation)
        self.tokens[row] = times_s.size
        if times_s.size:
            self.ttft_s[row] = times_s[0]
            self.end_s[row] = self.arrival_s[row] + times_s[-1]
            if times_s[-1] > times_s[0]:
                self.tds[row] = (times_s.size - 1) / (times_s[-1] - times_s[0])

    @property
    def makespan_s(self) -> float:
        """From the start of the run to the last token."""
        return float(self.end_s.max())

    def quality(self) -> Quality:
        """The run in numbers.

        Raises:
            ValueError: There is no stream.
        """
        if not len(self):
            raise ValueError("no stream has ended")
        num_tokens = float(self.tokens.sum())
        return Quality(
            mean_qoe_area=float(self.area.mean()),
            p5_qoe_area=percentile(self.area, 5),
            share_qoe_area_ge_0_95=float((self.area >= GOOD_QOE).mean()),
            mean_qoe_delay=float(self.delay.mean()),
            p5_qoe_delay=percentile(self.delay, 5),
            share_qoe_delay_ge_0_95=float((self.delay >= GOOD_QOE).mean()),
            ttft_s=_ttft(_known(self.ttft_s)),
            stall_s=Stall(
                float(self.stall_s.mean()),
                percentile(self.stall_s, 99),
                float(self.stall_s.max()),
            ),
            tds=_tds(_known(self.tds)),
            tokens_per_s=num_tokens / self.makespan_s if num_tokens else 0.0,
            requests=len(self),
            share_never_late=float((self.delay >= NEVER_LATE_QOE).mean()),
        )


def percentile(values: Floats, percent: float) -> float:
    """Linearly interpolated between the values."""
    return float(np.percentile(values, percent))


def _known(values: Floats) -> Floats:
    known: Floats = values[~np.isnan(values)]
    return known


def _ttft(first_s: Floats) -> Ttft:
    if not first_s.size:
        return Ttft(None, None, None)
    return Ttft(float(first_s.mean()), percentile(first_s, 50), percentile(first_s, 99))


def _tds(paces: Floats) -> Tds:
    return Tds(percentile(paces, 50) if paces.size else None)
