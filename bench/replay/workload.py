"""The load of a replay: the same requests and readers whatever serves them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError
from bench.load import BurstShape, PlannedStream, cyclic_burst, plan_load
from bench.replay.arguments import TTFT_BY_INPUT, Scenario
from bench.traces import Request, at_rate, draw_lengths, read_lengths, read_trace, select
from qoe import PROFILES
from qoe.expectation import TTFT_RANGE_S


def plan_workload(scenario: Scenario) -> tuple[PlannedStream, ...]:
    """The streams of a scenario in order of arrival; the seed decides all of it.

    Raises:
        UserError: A bad file, or no request arrives.
    """
    requests = _arrivals(scenario)
    if not requests:
        raise UserError(
            "no request arrives in the load: raise --duration-s or --rate, or try "
            "another --seed."
        )
    if scenario.lengths is not None:
        lengths = read_lengths(scenario.lengths)
        requests = draw_lengths(requests, lengths, seed=scenario.seed)
    pace = scenario.tds
    return plan_load(
        requests,
        PROFILES[pace if isinstance(pace, str) else "reading"],
        ttft_s=_ttft_by_input
        if scenario.ttft_s == TTFT_BY_INPUT
        else float(scenario.ttft_s),
        tds=None if isinstance(pace, str) else pace,
        patience_s=scenario.patience_s,
        seed=scenario.seed,
    ).streams


def is_possible(stream: PlannedStream, limit_tokens: int) -> bool:
    """Whether an engine that holds at most this much of one stream can ever finish it."""
    return stream.input_tokens + stream.output_tokens <= limit_tokens


def _arrivals(scenario: Scenario) -> Sequence[Request]:
    if scenario.trace is None:
        shape = burst_shape(scenario)
        duration_s = scenario.duration_s or shape.cycle_s
        return cyclic_burst(shape, duration_s=duration_s, seed=scenario.seed)
    requests = read_trace(scenario.trace)
    if scenario.rate is not None:
        requests = at_rate(requests, scenario.rate)
    return select(requests, duration_s=scenario.duration_s)


def burst_shape(scenario: Scenario) -> BurstShape:
    """The bursts of a synthetic load."""
    return BurstShape(
        rate=BurstShape().rate if scenario.rate is None else scenario.rate,
        intensity=scenario.intensity,
        burst_share=scenario.burst_share,
        cycle_s=scenario.cycle_s,
    )


def _ttft_by_input(input_tokens: int) -> float:
    """A reader who sent a long prompt expects to wait: 1 s for every 5000 tokens."""
    return min(max(1.0, input_tokens / 5000), TTFT_RANGE_S[1])
