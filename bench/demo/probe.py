"""How fast this machine serves: the engines kept full for a while, under fcfs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import cycle

import msgspec
import numpy as np
from rich.console import Console

from bench.arguments import BenchArguments
from bench.client import keep_busy
from bench.errors import UserError
from bench.results import CANCELLED, Stream
from bench.serving import planned
from bench.traces import Request

DURATION_S = 20.0
# Until the engines are full and the first answers have ended.
FILL_S = 4.0
# Enough that no engine runs dry, and few enough for routers on a slow machine.
WAITING = 32


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What engines that were always full delivered.

    Attributes:
        halves_tokens_per_s: Tokens/s of all streams, in each half of the time.
        streams: How many were between their first and their last token, on average.
        output_tokens: Mean length of an answer.
    """

    halves_tokens_per_s: tuple[float, float]
    streams: float
    output_tokens: float

    @property
    def tokens_per_s(self) -> float:
        """Of all streams, over both halves."""
        return sum(self.halves_tokens_per_s) / 2

    @property
    def requests_per_s(self) -> float:
        """As many as can be served for ever."""
        return self.tokens_per_s / self.output_tokens

    @property
    def change(self) -> float:
        """By how much the halves differ, as a part of their mean."""
        first, second = self.halves_tokens_per_s
        return abs(second - first) / self.tokens_per_s

    def scaled(self, factor: float) -> Probe:
        """The same machine if it were that many times as fast."""
        first, second = self.halves_tokens_per_s
        return msgspec.structs.replace(
            self, halves_tokens_per_s=(first * factor, second * factor)
        )


def probe(
    base_url: str, arguments: BenchArguments, requests: list[Request], notes: Console
) -> Probe:
    """Keep the service full with the requests for `DURATION_S`, and count.

    Raises:
        UserError: It delivered nothing to count.
    """
    load, endpoint = planned(base_url, arguments, requests)
    notes.print(f"probing for {DURATION_S:.0f} s: {WAITING} requests always wait")
    sent = asyncio.run(keep_busy(cycle(load.streams), endpoint, WAITING, DURATION_S))
    return measure(sent, FILL_S, DURATION_S)


def measure(streams: Sequence[Stream], start_s: float, end_s: float) -> Probe:
    """What was delivered between two times, counted from the start of the load.

    A stream that was cut off is taken to have been in delivery up to the end.

    Raises:
        UserError: One half of the time has no token.
    """
    tokens_s = [s.arrival_s + at_s for s in streams for at_s in s.delivered_at_s]
    middle_s = (start_s + end_s) / 2
    counts, _ = np.histogram(tokens_s, [start_s, middle_s, end_s])
    if not counts.all():
        problems = (s.error_message for s in streams if s.error not in (None, CANCELLED))
        why = next(problems, "no token came")
        raise UserError(
            f"the probe could not tell how fast the machine is: {why}.", exit_code=1
        )
    busy_s = sum(_overlap_s(stream, start_s, end_s) for stream in streams)
    first, second = (float(count) / (middle_s - start_s) for count in counts)
    return Probe(
        halves_tokens_per_s=(first, second),
        streams=busy_s / (end_s - start_s),
        output_tokens=float(np.mean([stream.output_tokens for stream in streams])),
    )


def _overlap_s(stream: Stream, start_s: float, end_s: float) -> float:
    """How long the stream was between its first and its last token in that time."""
    if not stream.delivered_at_s:
        return 0.0
    last_s = stream.arrival_s + stream.delivered_at_s[-1]
    to_s = end_s if stream.error == CANCELLED else min(last_s, end_s)
    return max(0.0, to_s - max(stream.arrival_s + stream.delivered_at_s[0], start_s))
