"""The load of one run: a synthetic burst load, and who reads each stream."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import UserError
from bench.traces import Request
from qoe import Expectation, Profile
from qoe.metrics import Floats
from qoe.tenant import NOBODY, Tenant

MAX_REQUESTS = 1_000_000

# Expected TTFT in seconds by prompt length in tokens.
TtftRule = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class BurstShape:
    """The paper's cyclic burst load.

    Each cycle is calm, then a burst, then calm again, with the burst in its middle. In the
    burst, which takes `burst_share` (w) of the cycle, requests arrive at `intensity` (h)
    times the mean rate r; outside it at r(1 − h w)/(1 − w), so that the mean over a cycle
    is r. Within each phase arrivals are Poisson. Prompt and answer lengths are lognormal
    and independent; the defaults are fitted to the Azure 2023 conversation trace.

    Attributes:
        rate: Mean request rate, requests/s.
        intensity: Rate in the burst over the mean rate.
        burst_share: Part of the cycle that the burst takes.
        cycle_s: Length of a cycle (the paper's: 1200 s).
        input_tokens: Median prompt length.
        output_tokens: Median answer length.

    Raises:
        UserError: The burst alone carries more than the mean rate (h w > 1).
    """

    rate: float = 4.0
    intensity: float = 2.0
    burst_share: float = 0.35
    cycle_s: float = 60.0
    input_tokens: int = 760
    output_tokens: int = 150
    input_sigma: float = 1.0
    output_sigma: float = 0.86

    def __post_init__(self) -> None:
        if self.intensity * self.burst_share > 1.0:
            raise UserError(
                f"--intensity={self.intensity:g} with --burst-share={self.burst_share:g} "
                "is invalid: their product must be at most 1, or the bursts alone exceed "
                "the mean rate."
            )

    @property
    def calm_rate(self) -> float:
        """Request rate outside the burst, requests/s."""
        calm_share = 1.0 - self.burst_share
        return self.rate * (1.0 - self.intensity * self.burst_share) / calm_share


@dataclass(frozen=True, slots=True)
class PlannedStream:
    """One request of a run, and what its reader expects.

    Attributes:
        prefix: What its prompt begins with, as (id, tokens) of pieces of text: the same id
            is the same text. Its `input_tokens` count them.
        tenant: Whose it is, where several share the engine.
    """

    arrival_s: float
    input_tokens: int
    output_tokens: int
    expectation: Expectation
    prefix: tuple[tuple[int, int], ...] = ()
    tenant: Tenant = NOBODY


@dataclass(frozen=True, slots=True)
class Load:
    """All that a run sends; `clipped` streams are shorter than the trace has them."""

    streams: tuple[PlannedStream, ...]
    clipped: int = 0


def cyclic_burst(shape: BurstShape, *, duration_s: float, seed: int) -> list[Request]:
    """A seeded draw of the arrivals in `duration_s` seconds, in order of arrival.

    Raises:
        UserError: That would be more than `MAX_REQUESTS`.
    """
    if shape.rate * duration_s > MAX_REQUESTS:
        raise UserError(
            f"--rate={shape.rate:g} for {duration_s:g} s is {shape.rate * duration_s:,.0f} "
            f"requests: at most {MAX_REQUESTS:,} are drawn."
        )
    rng = np.random.default_rng(seed)
    times_s, expected = _cumulative_arrivals(shape, duration_s)
    # A Poisson process of any rate is one of rate 1 on the axis of expected arrivals.
    count = rng.poisson(expected[-1])
    arrivals = np.interp(np.sort(rng.uniform(0, expected[-1], count)), expected, times_s)
    inputs = rng.lognormal(np.log(shape.input_tokens), shape.input_sigma, count)
    outputs = rng.lognormal(np.log(shape.output_tokens), shape.output_sigma, count)
    return [
        Request(float(arrival), max(1, round(n_in)), max(1, round(n_out)))
        for arrival, n_in, n_out in zip(arrivals, inputs, outputs, strict=True)
    ]


def plan_load(
    requests: Sequence[Request],
    profile: Profile,
    *,
    ttft_s: float | TtftRule | None = None,
    tds: float | None = None,
    patience_s: float | None = None,
    max_context_tokens: int | None = None,
    max_output_tokens: int | None = None,
    seed: int = 0,
) -> Load:
    """Give each request a reader drawn from the profile, and make it fit the model.

    `max_output_tokens` cuts the answer. A request that is still longer than
    `max_context_tokens` loses prompt tokens first, down to one, then answer tokens.

    Args:
        requests: In order of arrival.
        profile: The population that readers are drawn from.
        ttft_s: Replaces every reader's expected TTFT; a rule sees the prompt as sent.
        tds: Replaces every reader's expected TDS, tokens/s.
        patience_s: Of every reader; None for ever.
        max_context_tokens: Prompt and answer together; None means no limit.
        max_output_tokens: Longest answer; None means no limit.
        seed: Of the draw of readers.
    """
    rng = random.Random(f"readers {seed}")
    streams = []
    clipped = 0
    for request in requests:
        reader = profile.sample(rng)
        inputs, outputs = _fitted(request, max_context_tokens, max_output_tokens)
        clipped += (inputs, outputs) != (request.input_tokens, request.output_tokens)
        expected_s = ttft_s(inputs) if callable(ttft_s) else ttft_s
        expectation = Expectation(
            reader.ttft_s if expected_s is None else expected_s,
            reader.tds if tds is None else tds,
            patience_s=patience_s,
        )
        streams.append(PlannedStream(request.arrival_s, inputs, outputs, expectation))
    return Load(tuple(streams), clipped)


def _fitted(
    request: Request, max_context_tokens: int | None, max_output_tokens: int | None
) -> tuple[int, int]:
    inputs, outputs = request.input_tokens, request.output_tokens
    if max_output_tokens is not None:
        outputs = min(outputs, max_output_tokens)
    if max_context_tokens is not None:
        outputs = min(outputs, max_context_tokens - 1)
        inputs = min(inputs, max_context_tokens - outputs)
    return inputs, outputs


def _cumulative_arrivals(shape: BurstShape, duration_s: float) -> tuple[Floats, Floats]:
    """Corners of the expected number of arrivals over time: (times in s, requests)."""
    calm_s = shape.cycle_s * (1.0 - shape.burst_share) / 2.0
    burst_s = shape.cycle_s * shape.burst_share
    cycles = int(np.ceil(duration_s / shape.cycle_s))
    lengths_s = np.tile([calm_s, burst_s, calm_s], cycles)
    burst_rate = shape.rate * shape.intensity
    rates = np.tile([shape.calm_rate, burst_rate, shape.calm_rate], cycles)
    times_s = np.concatenate([[0.0], np.cumsum(lengths_s)])
    expected = np.concatenate([[0.0], np.cumsum(lengths_s * rates)])
    end = np.interp(duration_s, times_s, expected)
    inside = times_s < duration_s
    return np.append(times_s[inside], duration_s), np.append(expected[inside], end)
