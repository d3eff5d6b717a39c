"""The request rate at which fcfs fails some readers and serves others.

Where everybody is served, or nobody, schedulers cannot differ.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence

import numpy as np

from bench.demo.probe import Probe
from bench.load import PlannedStream
from bench.traces import Request, select
from qoe import area_qoe

# Mean area QoE of fcfs: what is aimed at, and what is good enough.
TARGET_QOE = 0.55
QOE_RANGE = (0.4, 0.7)
# Around what can be served for ever: far beyond where any load of a minute falls.
_WIDEST = 4.0
_BISECTIONS = 12

LoadAt = Callable[[float], Sequence[PlannedStream]]


def at_rate(
    requests: Sequence[Request], rate: float, duration_s: float, seed: int
) -> list[Request]:
    """The requests of a window of `duration_s`, thinned or doubled to `rate` requests/s."""
    return select(requests, rate_scale=rate * duration_s / len(requests), seed=seed)


def forecast(streams: Sequence[PlannedStream], probe: Probe) -> float:
    """The mean area QoE of fcfs on a machine that was probed; 1 without streams.

    A queue with as many servers as streams were served at once, each at that pace: by
    construction it serves as many tokens/s as the probe saw.
    """
    free_at_s = [0.0] * max(1, round(probe.streams))
    pace = probe.tokens_per_s / len(free_at_s)
    qoes = []
    for stream in streams:
        begin_s = max(stream.arrival_s, free_at_s[0])
        heapq.heapreplace(free_at_s, begin_s + stream.output_tokens / pace)
        wait_s = begin_s - stream.arrival_s
        delivered_at_s = wait_s + np.arange(1, stream.output_tokens + 1) / pace
        qoes.append(area_qoe(delivered_at_s, stream.expectation))
    return float(np.mean(qoes)) if qoes else 1.0


def choose_rate(load_at: LoadAt, probe: Probe) -> float:
    """The rate, requests/s, at which the forecast falls to `TARGET_QOE`; three digits.

    Args:
        load_at: The load at a rate in requests/s.
        probe: What the machine serves.
    """
    fair = probe.requests_per_s
    rate = _crossing(lambda factor: TARGET_QOE - forecast(load_at(factor * fair), probe))
    return float(f"{rate * fair:.3g}")


def correct_rate(load_at: LoadAt, probe: Probe, rate: float, qoe: float) -> float:
    """Chosen again, after fcfs fell to `qoe` at `rate`.

    The machine is taken to be as much faster or slower as explains what was seen.
    """
    sent = load_at(rate)
    # Where nobody waited, any faster machine explains it: take the slowest that does.
    seen = min(max(qoe, 0.05), 0.95)
    factor = _crossing(lambda factor: forecast(sent, probe.scaled(factor)) - seen)
    return choose_rate(load_at, probe.scaled(factor))


def _crossing(rising: Callable[[float], float]) -> float:
    """Where a function that rises becomes 0, between 1 / `_WIDEST` and `_WIDEST`."""
    low, high = -math.log(_WIDEST), math.log(_WIDEST)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(math.exp(middle)) > 0 else (middle, high)
    return math.exp(high)
