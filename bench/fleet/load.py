"""The load of a run as columns: 64 bytes a stream, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from bench.load import PlannedStream
from qoe import Expectation
from qoe.expectation import TTFT_RANGE_S
from qoe.metrics import Floats, digestion_starts
from qoe.tenant import Tenant


class LoadColumns:
    """Streams in order of arrival; each is made when it is asked for."""

    def __init__(self, streams: Iterable[PlannedStream]) -> None:
        # A row for each tenant; they are few beside the streams.
        rows: dict[Tenant, int] = {}
        numbers = chain.from_iterable(
            (*_numbers(stream), rows.setdefault(stream.tenant, len(rows)))
            for stream in streams
        )
        self._columns: Floats = np.fromiter(numbers, dtype=np.float64).reshape(-1, 8)
        self._tenants = list(rows)

    def __len__(self) -> int:
        return int(self._columns.shape[0])

    def __getitem__(self, row: int) -> PlannedStream:
        numbers: list[float] = self._columns[row].tolist()
        arrival_s, inputs, outputs, ttft_s, tds, weight, patience_s, tenant = numbers
        expectation = Expectation(ttft_s, tds, weight, patience_s or None)
        return PlannedStream(
            arrival_s,
            int(inputs),
            int(outputs),
            expectation,
            tenant=self._tenants[int(tenant)],
        )

    def __iter__(self) -> Iterator[PlannedStream]:
        return (self[row] for row in range(len(self)))

    @property
    def arrival_s(self) -> Floats:
        """When each stream arrives, shape (n,)."""
        arrivals: Floats = self._columns[:, 0]
        return arrivals


def continued(stream: PlannedStream, delivered_at_s: Floats) -> PlannedStream:
    """The rest of a stream as one of its own, for an engine that knows nothing of it.

    What came so far is part of the prompt. Its age is that of the whole, and its first
    token is expected when its reader will be through with the last one that came; who has
    begun needs no patience.

    Args:
        stream: The whole.
        delivered_at_s: When its tokens came, from the start of the run; at least one, and
            fewer than all.
    """
    count = delivered_at_s.size
    tds = stream.expectation.tds
    read_until_s = digestion_starts(delivered_at_s, tds)[-1] + 1.0 / tds
    ttft_s = float(np.clip(read_until_s - stream.arrival_s, *TTFT_RANGE_S))
    return PlannedStream(
        stream.arrival_s,
        stream.input_tokens + count,
        stream.output_tokens - count,
        Expectation(ttft_s, tds, stream.expectation.weight),
        tenant=stream.tenant,
    )


def _numbers(stream: PlannedStream) -> tuple[float, ...]:
    reader = stream.expectation
    lengths = stream.input_tokens, stream.output_tokens
    expected = reader.ttft_s, reader.tds, reader.weight, reader.patience_s or 0.0
    return stream.arrival_s, *lengths, *expected
