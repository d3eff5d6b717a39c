"""What share of the streams any schedule, even a clairvoyant one, can keep from being late.

A stream is never late if its token k, from 0, comes by arrival + ttft_s + k / tds: its
`delay_qoe` is then 1. An `area_qoe` of 1 asks for less, as a reader who began early may sit
without text later on; this bounds nothing there.

The proof, for any prices:

1. A step takes `base_s`, the work of each token that it makes, and that of each prompt
   token that it computes. The contexts it decodes from fit `kv_tokens`, its streams
   `max_num_seqs`, its tokens `max_num_batched_tokens`. Each of the three, used over limit,
   is at most 1, and so is their mean with any weights: the base may be split over what a
   step holds without charging more than `base_s`. (The largest of the three for each stream
   would charge more: one long context among many short ones.)
2. In bin b a second costs p_b, of which the base's parts by memory, slots and tokens get
   m_b + s_b + t_b ≤ p_b. A step is spread evenly over the time it takes. It may thus lie in
   two bins, and no bin gets more than `bin_s`: all steps pay at most bin_s · Σ p_b.
3. By 1, what a token or a prompt contributes to a step in bin b makes the step pay at least
   p_b · work + m_b · base_s · context / kv_tokens + s_b · base_s / max_num_seqs
   + t_b · base_s · tokens / max_num_batched_tokens, and these sum to no more than it pays.
4. A step that a token is made in begins after the arrival and ends by the token's deadline;
   those that compute the prompt end by the first one. Each of the four prices in 3 is no
   lower than the lowest from the bin of the arrival to that of the deadline. With these, a
   stream that is never late makes steps pay at least c_i, whoever else is served. To
   compute anything again adds to it; to move KV is free here.
5. Over the streams that are never late, Σ 1 = Σ (1 − c_i) + Σ c_i. The first sum is at most
   Σ max(0, 1 − c_i) over all streams; the second, by 4 and 2, at most bin_s · Σ p_b.
6. A stream that could not be in time with the engine to itself, or that is larger than the
   memory, is never among them and left out of the sum. Streams are whole: round down.

So a linear program only looks for good prices. One that is stopped makes the bound looser,
and never wrong. At the best prices it is the program in which streams count in part and
choose bins freely.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from bench.load import PlannedStream
from bench.replay.cost import StepCost
from evidence.demand import NUM_PRICES, Bools, Demand, Ints, StreamArrays, is_possible
from qoe.metrics import Floats

if TYPE_CHECKING:
    from bench.replay.virtual_config import EngineSize  # it loads vLLM

# The sum over all streams is rounded; this can only loosen the bound.
_ROUNDING_STREAMS = 1e-6
# Streams in order of arrival share a cut: more blocks need fewer, larger programs.
_NUM_BLOCKS = 20
# How far from the best prices towards the program's: its own jump from corner to corner.
_STRIDE = 0.3
# Of all streams; half a stream changes nothing.
_GAP = 5e-4


@dataclass(frozen=True, slots=True)
class Bound:
    """No schedule of this load keeps a larger share of its streams from being late.

    Attributes:
        share: In [0, 1].
        gap: What better prices, over the same bins, could take off it at most.
        solve_s: Real seconds that it took.
    """

    share: float
    gap: float
    solve_s: float


def never_late_bound(
    streams: Sequence[PlannedStream],
    cost: StepCost,
    size: EngineSize,
    *,
    prefill_tokens: Sequence[int] | None = None,
    bin_s: float = 4.0,
    time_limit_s: float = 600.0,
) -> Bound:
    """Bound the share of streams that are never late on one engine.

    Args:
        streams: The load; at least one stream.
        cost: Of a step.
        size: Memory and limits of a step.
        prefill_tokens: The least of each prompt that the engine must compute, where it may
            find the rest in its prefix cache; None is all of it. What others can share
            takes none of the stream's own memory.
        bin_s: Width of the bins in which time has one price.
        time_limit_s: The best prices found by then are taken.

    Raises:
        ValueError: There is no stream, `bin_s` is not positive, or a `prefill_tokens` is
            not from 1 to its prompt's length.
    """
    started_s = time.perf_counter()
    if not streams or bin_s <= 0:
        raise ValueError(
            f"never_late_bound of {len(streams)} streams with bin_s={bin_s}: it needs a "
            "stream and a positive bin_s."
        )
    load = StreamArrays.of(streams, prefill_tokens)
    total = len(streams)
    load = load.only(is_possible(load, cost, size))
    most = best = 0.0
    if load.num_streams:
        demand = Demand.of(load, cost, size, bin_s)
        most, best = _search(demand, bin_s, _GAP * total, started_s + time_limit_s)
    whole = np.floor(most + _ROUNDING_STREAMS)
    return Bound(
        share=float(whole) / total,
        gap=max(0.0, float(whole) - best) / total,
        solve_s=time.perf_counter() - started_s,
    )


class _Found(NamedTuple):
    """A number of streams, and what no prices over the same bins get below."""

    most: float
    floor: float


def _search(demand: Demand, bin_s: float, gap: float, ends_s: float) -> _Found:
    """Cut towards the prices of the lowest bound, until `gap` streams are left to gain.

    The bound is convex in the prices: each look at it gives a plane below it, and a linear
    program the lowest point above all planes. The next look is on the way there from the
    best prices yet, as the program alone jumps from corner to corner.
    """
    program = _Program(demand, bin_s)
    best = prices = np.zeros((NUM_PRICES, demand.num_bins))
    most, floor = float(demand.num_streams), 0.0
    while True:
        paid, bins = demand.cheapest(prices)
        value = bin_s * float(prices[0].sum()) + float(np.maximum(0.0, 1.0 - paid).sum())
        if value < most:
            most, best = value, prices
        if most - floor <= gap:
            break
        program.cut(paid < 1.0, bins)
        solved = program.solve(ends_s - time.perf_counter())
        if solved is None:
            break
        floor, corner = solved
        prices = best + _STRIDE * (corner - best)
    return _Found(most, floor)


class _Program:
    """The planes below the bound, by block of streams, and the lowest point above them."""

    def __init__(self, demand: Demand, bin_s: float) -> None:
        self._demand = demand
        order = np.arange(demand.num_streams)
        self._num_blocks = min(_NUM_BLOCKS, demand.num_streams)
        self._block = order * self._num_blocks // demand.num_streams
        num_bins = demand.num_bins
        self._objective = np.concatenate(
            [
                np.full(num_bins, bin_s),
                np.zeros((NUM_PRICES - 1) * num_bins),
                np.ones(self._num_blocks),
            ]
        )
        # In each bin the parts of the base cost no more together than the whole of it.
        one = sp.eye(num_bins)
        none = sp.csr_matrix((num_bins, self._num_blocks))
        self._rows = [sp.hstack([-one, *[one] * (NUM_PRICES - 1), none])]
        self._limits: list[Floats] = [np.zeros(num_bins)]
        sizes = np.bincount(self._block)
        most = np.concatenate([np.full(NUM_PRICES * num_bins, np.inf), sizes])
        self._bounds = np.stack([np.zeros_like(most), most], axis=1)

    def cut(self, counts: Bools, bins: Ints) -> None:
        """Add the planes at a point: who still counts there, and where each need is met."""
        demand = self._demand
        needs = np.flatnonzero(counts[demand.stream])
        shape = (self._num_blocks, NUM_PRICES * demand.num_bins)
        columns = bins[:, needs] + np.arange(NUM_PRICES)[:, None] * demand.num_bins
        blocks = np.tile(self._block[demand.stream[needs]], NUM_PRICES)
        paid = sp.csr_matrix(
            (demand.seconds[:, needs].ravel(), (blocks, columns.ravel())), shape=shape
        )
        self._rows.append(sp.hstack([-paid, -sp.eye(self._num_blocks)]))
        counted = np.bincount(self._block, counts, self._num_blocks)
        self._limits.append(-counted.astype(float))

    def solve(self, time_limit_s: float) -> tuple[float, Floats] | None:
        """The lowest value and its prices; None if the time ran out or HiGHS gave up."""
        if time_limit_s <= 0:
            return None
        result = linprog(
            self._objective,
            A_ub=sp.vstack(self._rows, format="csr"),
            b_ub=np.concatenate(self._limits),
            bounds=self._bounds,
            method="highs-ds",
            options={"time_limit": time_limit_s},
        )
        if result.status != 0:
            return None
        prices = result.x[: -self._num_blocks].reshape(NUM_PRICES, -1)
        # HiGHS keeps its limits to a tolerance; the proof wants them kept.
        prices = np.maximum(prices, 0.0)
        prices[0] = np.maximum(prices[0], prices[1:].sum(axis=0))
        return float(result.fun), prices
