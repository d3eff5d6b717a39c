"""What streams need of an engine by when, as arrays: the numbers behind the bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.load import PlannedStream
from bench.replay.cost import StepCost
from qoe.metrics import Floats

if TYPE_CHECKING:
    from bench.replay.virtual_config import EngineSize  # it loads vLLM

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Of a second, and of the base by memory, by slots and by tokens.
NUM_PRICES = 4

# Deadlines are rounded; nobody notices this much, and it only loosens a bound.
_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class StreamArrays:
    """Streams in order of arrival as arrays, one entry each; times in s, lengths in tokens.

    `computed` is the least of the prompt that must be computed.
    """

    arrival_s: Floats
    prompt: Ints
    computed: Ints
    output: Ints
    ttft_s: Floats
    tds: Floats

    @classmethod
    def of(
        cls, streams: Sequence[PlannedStream], prefill_tokens: Sequence[int] | None
    ) -> StreamArrays:
        prompt = np.array([s.input_tokens for s in streams])
        computed = prompt if prefill_tokens is None else np.asarray(prefill_tokens)
        if (
            computed.shape != prompt.shape
            or (computed < 1).any()
            or (computed > prompt).any()
        ):
            raise ValueError(
                f"prefill_tokens of shape {computed.shape} is invalid: it must be one "
                f"number from 1 to the prompt's length for each of {len(prompt)} streams."
            )
        arrival_s = np.array([s.arrival_s for s in streams])
        load = cls(
            arrival_s,
            prompt,
            computed,
            np.array([s.output_tokens for s in streams]),
            np.array([s.expectation.ttft_s for s in streams]),
            np.array([s.expectation.tds for s in streams]),
        )
        return load.only(np.argsort(arrival_s, kind="stable"))

    @property
    def num_streams(self) -> int:
        return self.prompt.size

    def only(self, rows: Bools | Ints) -> StreamArrays:
        return StreamArrays(*(getattr(self, name)[rows] for name in StreamArrays.__slots__))

    def tokens(self) -> tuple[Ints, Ints]:
        """Of every token of every answer: its stream, and its number from 0."""
        stream = np.repeat(np.arange(self.num_streams), self.output)
        starts = np.cumsum(self.output) - self.output
        return stream, np.arange(stream.size) - starts[stream]

    def deadlines_s(self, stream: Ints, number: Ints) -> Floats:
        due_s = self.arrival_s + self.ttft_s
        return np.asarray(due_s[stream] + number / self.tds[stream] + _ROUNDING_S)

    def prefill_s(self, cost: StepCost) -> Floats:
        """Least engine time of each prompt, without bases and without its last token.

        The last token of a prompt is charged as the decode that it also is. Fewest pairs
        are charged where it comes in a step of its own, after `prompt - 1` others.
        """
        cached = self.prompt - self.computed
        pairs = (self.prompt - 1.0) ** 2 - cached.astype(float) ** 2
        return np.asarray(
            (self.computed - 1) * cost.per_prefill_token_s
            + np.maximum(pairs, 0.0) * cost.per_prefill_token2_s
        )


def is_possible(load: StreamArrays, cost: StepCost, size: EngineSize) -> Bools:
    """Whether each stream could be in time if the engine served nobody else."""
    stream, number = load.tokens()
    step_s = (
        cost.base_s
        + cost.per_stream_s
        + cost.per_context_token_s * (load.prompt[stream] + number)
    )
    since_start_s = np.cumsum(step_s)
    before = np.cumsum(load.output) - load.output
    own_s = since_start_s - (since_start_s[before] - step_s[before])[stream]
    # The step of the first token is the last of those that the prompt takes.
    more_steps = -(-load.computed // size.max_num_batched_tokens) - 1
    start_s = load.arrival_s + load.prefill_s(cost) + more_steps * cost.base_s
    is_late = own_s + start_s[stream] > load.deadlines_s(stream, number)
    num_late = np.bincount(stream, is_late, load.num_streams)
    return np.asarray((num_late == 0) & (load.computed + load.output - 1 <= size.kv_tokens))


@dataclass(frozen=True, slots=True)
class Demand:
    """What each stream needs by the end of each bin that it has a deadline in.

    Attributes:
        seconds: Engine seconds of each need that each price is for, (prices, needs).
        stream: Whose, (needs,).
        arrival_bin: Where it may be met first, (needs,).
        due_bin: Where it must be met at last, (needs,).
    """

    num_streams: int
    num_bins: int
    seconds: Floats
    stream: Ints
    arrival_bin: Ints
    due_bin: Ints

    @classmethod
    def of(
        cls, load: StreamArrays, cost: StepCost, size: EngineSize, bin_s: float
    ) -> Demand:
        start_bin = int(load.arrival_s[0] // bin_s)
        token_stream, number = load.tokens()
        due = (load.deadlines_s(token_stream, number) // bin_s).astype(int) - start_bin
        num_bins = int(due.max()) + 1
        needs, need = np.unique(token_stream * num_bins + due, return_inverse=True)
        stream = needs // num_bins
        count = np.bincount(need).astype(float)
        context = np.bincount(need, load.prompt[token_stream] + number)
        held = np.bincount(need, load.computed[token_stream] + number)
        # The first need of a stream is that with its first token, and so with its prompt.
        is_first = np.diff(stream, prepend=-1) > 0
        prefill_s = np.where(is_first, load.prefill_s(cost)[stream], 0.0)
        scheduled = count + np.where(is_first, load.computed[stream] - 1, 0)
        seconds = np.stack(
            [
                cost.per_stream_s * count + cost.per_context_token_s * context + prefill_s,
                cost.base_s * held / size.kv_tokens,
                cost.base_s * count / size.max_num_seqs,
                cost.base_s * scheduled / size.max_num_batched_tokens,
            ]
        )
        arrival_bin = (load.arrival_s // bin_s).astype(int) - start_bin
        return cls(
            load.num_streams,
            num_bins,
            seconds,
            stream,
            arrival_bin[stream],
            needs % num_bins,
        )

    def cheapest(self, prices: Floats) -> tuple[Floats, Ints]:
        """What each stream pays at least, and the bin each price of a need is lowest in.

        Args:
            prices: Of each kind in each bin, (prices, bins).

        Returns:
            Arrays of shapes (streams,) and (prices, needs).
        """
        paid = np.zeros(self.num_streams)
        bins = np.empty(self.seconds.shape, dtype=np.int64)
        for kind, price in enumerate(prices):
            lowest, where = _lowest_between(price)
            each = self.seconds[kind] * lowest[self.arrival_bin, self.due_bin]
            paid += np.bincount(self.stream, each, self.num_streams)
            bins[kind] = where[self.arrival_bin, self.due_bin]
        return paid, bins


def _lowest_between(price: Floats) -> tuple[Floats, Ints]:
    """The lowest price from bin to bin, and the first bin with it; both (bins, bins)."""
    bins = np.arange(price.size)
    later = np.where(bins >= bins[:, None], price, np.inf)
    lowest = np.minimum.accumulate(later, axis=1)
    is_lower = np.zeros_like(lowest, dtype=bool)
    is_lower[:, 1:] = lowest[:, 1:] < lowest[:, :-1]
    return lowest, np.maximum.accumulate(np.where(is_lower, bins, 0), axis=1)
