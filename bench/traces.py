"""Request traces: when requests arrive and how long they are."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.errors import Limits, UserError, shown

# Published lists of lengths lie beside a checkout, where they are there at all.
PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "traces"
COLUMNS = ("arrival_s", "input_tokens", "output_tokens")
# Ours, and those that published lists of lengths have.
LENGTH_COLUMNS = (
    ("input_tokens", "output_tokens"),
    ("num_prefill_tokens", "num_decode_tokens"),
)
# Of a header without the columns that are needed.
MAX_LISTED = 10
_ARRIVAL = Limits(0, 1_000_000_000, "seconds")
_TOKENS = Limits(1, 10_000_000, "tokens", whole=True)


class TraceError(UserError):
    """A trace file was refused; `str()` names the file and, where there is one, the row."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace; `arrival_s` counts from the start of the trace."""

    arrival_s: float
    input_tokens: int
    output_tokens: int


def read_trace(path: Path) -> list[Request]:
    """The requests of a CSV file, in order of arrival.

    The header names `arrival_s`, `input_tokens` and `output_tokens` in any order; other
    columns are ignored, and so are blank lines.

    Raises:
        TraceError: The file cannot be read or is empty, a column is missing, a number is
            bad, or arrivals are not in order. The row is the line number in the file.
    """
    numbered = [
        (row, _request(f"{path}, row {row}: ", *cells))
        for row, cells in _rows(path, [COLUMNS])
    ]
    for (_, before), (row, after) in pairwise(numbered):
        if after.arrival_s < before.arrival_s:
            raise TraceError(
                f"{path}, row {row}: arrival_s={after.arrival_s:g} comes before the row "
                f"above ({before.arrival_s:g}); sort the file by arrival_s."
            )
    return [request for _, request in numbered]


def read_lengths(path: Path) -> list[tuple[int, int]]:
    """(input, output) tokens of each row of a CSV file with one of `LENGTH_COLUMNS`.

    Raises:
        TraceError: The file cannot be read or is empty, columns are missing, or a number
            is bad.
    """
    lengths = []
    for row, cells in _rows(path, LENGTH_COLUMNS):
        try:
            lengths.append(_lengths(*cells))
        except UserError as error:
            raise TraceError(f"{path}, row {row}: {error}") from None
    return lengths


def draw_lengths(
    requests: Sequence[Request], lengths: Sequence[tuple[int, int]], *, seed: int
) -> list[Request]:
    """The same arrivals with lengths drawn anew; input and output come from one row."""
    drawn = random.Random(f"lengths {seed}").choices(lengths, k=len(requests))
    return [Request(r.arrival_s, *row) for r, row in zip(requests, drawn, strict=True)]


def at_rate(requests: Sequence[Request], rate: float) -> list[Request]:
    """The whole trace, its time stretched so that its mean rate is `rate` requests/s.

    Raises:
        UserError: All requests arrive at once, or there is only one: no time to stretch.
    """
    first_s, span_s = requests[0].arrival_s, requests[-1].arrival_s - requests[0].arrival_s
    if span_s <= 0:
        raise UserError(
            f"--rate={rate:g} has no effect on a trace whose requests arrive at one moment."
        )
    scale = (len(requests) - 1) / span_s / rate
    return [
        Request((r.arrival_s - first_s) * scale, r.input_tokens, r.output_tokens)
        for r in requests
    ]


def select(
    requests: Sequence[Request],
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    rate_scale: float = 1.0,
    time_scale: float = 1.0,
    seed: int = 0,
) -> list[Request]:
    """The part of a trace that a run replays, with arrivals counted from its own start.

    The same arguments give the same requests, and a longer window only adds to a shorter
    one: a seeded draw never depends on `duration_s`.

    Args:
        requests: A trace in order of arrival.
        start_s: Where to begin, in the trace's own time.
        duration_s: Length of the window, in scaled time; None means to the end.
        rate_scale: Requests kept of each one: 0.5 keeps every other request by a seeded
            draw, 2 adds to each a copy that arrives up to one mean gap later.
        time_scale: How many times faster than recorded the trace runs.
        seed: Of the draws behind `rate_scale`.
    """
    rest = [request for request in requests if request.arrival_s >= start_s]
    scaled = [
        Request((r.arrival_s - start_s) / time_scale, r.input_tokens, r.output_tokens)
        for r in sorted(_resample(rest, rate_scale, seed), key=lambda r: r.arrival_s)
    ]
    return [r for r in scaled if duration_s is None or r.arrival_s < duration_s]


def _rows(path: Path, choices: Sequence[tuple[str, ...]]) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the first choice of columns that the header has in full.

    Raises:
        TraceError: The file cannot be read, has no rows, or lacks a column of every choice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(_parse(path, lines, choices))
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path}: not a CSV text file ({error}).") from error
    if not rows:
        raise TraceError(f"{path}: no requests in the file.")
    return rows


def _parse(
    path: Path, lines: Iterator[str], choices: Sequence[tuple[str, ...]]
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    if not header:
        raise TraceError(f"{path}: the file is empty.")
    columns = next((c for c in choices if set(c) <= set(header)), None)
    if columns is None:
        missing = " or ".join(
            next(column for column in choice if column not in header) for choice in choices
        )
        raise TraceError(
            f"{path}, row 1: no column {missing}; the header has {_listed(header)}."
        )
    at = [header.index(column) for column in columns]
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, [cells[i].strip() if i < len(cells) else "" for i in at]


def _listed(header: Sequence[str]) -> str:
    more = f" and {len(header) - MAX_LISTED} more" if len(header) > MAX_LISTED else ""
    return ", ".join(map(shown, header[:MAX_LISTED])) + more


def _request(where: str, arrival: str, inputs: str, outputs: str) -> Request:
    try:
        return Request(_ARRIVAL.parse(COLUMNS[0], arrival), *_lengths(inputs, outputs))
    except UserError as error:
        raise TraceError(f"{where}{error}") from None


def _lengths(inputs: str, outputs: str) -> tuple[int, int]:
    return int(_TOKENS.parse(COLUMNS[1], inputs)), int(_TOKENS.parse(COLUMNS[2], outputs))


def _resample(
    requests: Sequence[Request], rate_scale: float, seed: int
) -> Iterator[Request]:
    if rate_scale == 1.0 or not requests:
        yield from requests
        return
    rng = random.Random(f"rate {seed}")
    span_s = requests[-1].arrival_s - requests[0].arrival_s
    gap_s = span_s / len(requests)
    for request in requests:
        copies = int(rate_scale) + (rng.random() < rate_scale % 1)
        for copy in range(copies):
            late_s = rng.uniform(0.0, gap_s) if copy else 0.0
            yield Request(
                request.arrival_s + late_s, request.input_tokens, request.output_tokens
            )
