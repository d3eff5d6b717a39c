"""What a run delivered, and what its readers made of it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from qoe import Expectation, area_qoe, delay_qoe, stall_s

CANCELLED = "cancelled"
GOOD_QOE = 0.95


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One request as its reader saw it.

    Attributes:
        arrival_s: Intended submission, from the start of the run.
        input_tokens: Prompt length sent.
        output_tokens: Answer length asked for.
        ttft_s: When the reader expects the first token.
        tds: The pace the reader expects, tokens/s.
        delivered_at_s: Delivery of each token, from the intended submission.
        error: Kind of error, or None; `CANCELLED` where the run was stopped first.
        error_message: What the server or the connection said about it.
        send_lag_s: How late the client sent the request.
    """

    arrival_s: float
    input_tokens: int
    output_tokens: int
    ttft_s: float
    tds: float
    delivered_at_s: Sequence[float]
    error: str | None = None
    error_message: str | None = None
    send_lag_s: float = 0.0

    @property
    def expectation(self) -> Expectation:
        """What the reader expects."""
        return Expectation(self.ttft_s, self.tds)


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


class SendLag(msgspec.Struct, frozen=True):
    """Seconds by which the client itself sent late."""

    p99: float
    max: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One run in numbers. QoE is over every stream, failed ones included.

    Attributes:
        share_qoe_area_ge_0_95: Part of the streams whose area QoE is 0.95 or more.
        tokens_per_s: Tokens delivered over `makespan_s`.
        requests: Streams counted: those that ended, well or not.
        errors: Streams that failed, by kind.
        short: Streams that ended well with fewer tokens than asked for.
        clipped: Requests cut to what the model or the options allow.
        cancelled: Streams cut off because the run was stopped; not counted anywhere else.
        makespan_s: From the start of the run to the last token.
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
    errors: dict[str, int]
    short: int
    clipped: int
    cancelled: int
    makespan_s: float
    send_lag_s: SendLag


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run was made; `commit` and `dirty` are None outside a git checkout."""

    commit: str | None
    dirty: bool | None
    python: str
    cpu_count: int | None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A run as `andes bench --json` writes it."""

    label: str
    arguments: dict[str, object]
    environment: Environment
    summary: Summary
    streams: Sequence[Stream]


def summarise(streams: Sequence[Stream], *, clipped: int = 0) -> Summary:
    """Score a run.

    A stream that failed counts in every QoE aggregate with what it delivered, 0 if nothing:
    a failed reader is not a missing reader. Where no token came there is no TTFT or TDS to
    count, so read them beside `errors`. Cancelled streams are left out: nobody knows
    how they would have ended.

    Raises:
        ValueError: No stream has ended.
    """
    ended = [stream for stream in streams if stream.error != CANCELLED]
    if not ended:
        raise ValueError("no stream has ended")
    area = np.array([area_qoe(s.delivered_at_s, s.expectation) for s in ended])
    delay = np.array([delay_qoe(s.delivered_at_s, s.expectation) for s in ended])
    stalls_s = np.array([stall_s(s.delivered_at_s, s.expectation) for s in ended])
    lags_s = np.array([s.send_lag_s for s in ended])
    makespan_s = max(s.arrival_s + max(s.delivered_at_s, default=0.0) for s in ended)
    num_tokens = sum(len(s.delivered_at_s) for s in ended)
    return Summary(
        mean_qoe_area=float(area.mean()),
        p5_qoe_area=_percentile(area, 5),
        share_qoe_area_ge_0_95=float((area >= GOOD_QOE).mean()),
        mean_qoe_delay=float(delay.mean()),
        p5_qoe_delay=_percentile(delay, 5),
        share_qoe_delay_ge_0_95=float((delay >= GOOD_QOE).mean()),
        ttft_s=_ttft(ended),
        stall_s=Stall(
            float(stalls_s.mean()), _percentile(stalls_s, 99), float(stalls_s.max())
        ),
        tds=_tds(ended),
        tokens_per_s=num_tokens / makespan_s if num_tokens else 0.0,
        requests=len(ended),
        errors=dict(Counter(s.error for s in ended if s.error is not None).most_common()),
        short=sum(
            s.error is None and len(s.delivered_at_s) < s.output_tokens for s in ended
        ),
        clipped=clipped,
        cancelled=len(streams) - len(ended),
        makespan_s=makespan_s,
        send_lag_s=SendLag(_percentile(lags_s, 99), float(lags_s.max())),
    )


def environment() -> Environment:
    """This machine, and the commit of the checkout this file lies in."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain")
    return Environment(
        commit=commit,
        dirty=None if changes is None else changes != "",
        python=platform.python_version(),
        cpu_count=os.cpu_count(),
    )


def write_result(path: Path, result: Result) -> None:
    """Write a run as JSON, delivery times rounded to 0.1 ms."""
    rounded = [
        msgspec.structs.replace(s, delivered_at_s=[round(t, 4) for t in s.delivered_at_s])
        for s in result.streams
    ]
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(result, streams=rounded)))


def read_result(path: Path) -> Result:
    """A run that `write_result` wrote.

    Raises:
        OSError: The file cannot be read.
        msgspec.DecodeError: It is not such a file.
    """
    return msgspec.json.decode(path.read_bytes(), type=Result)


def _ttft(streams: Sequence[Stream]) -> Ttft:
    first_s = np.array([s.delivered_at_s[0] for s in streams if s.delivered_at_s])
    if not first_s.size:
        return Ttft(None, None, None)
    return Ttft(float(first_s.mean()), _percentile(first_s, 50), _percentile(first_s, 99))


def _tds(streams: Sequence[Stream]) -> Tds:
    spans = [(len(s.delivered_at_s) - 1, _span_s(s)) for s in streams]
    paces = np.array([num_tokens / span_s for num_tokens, span_s in spans if span_s > 0])
    return Tds(_percentile(paces, 50) if paces.size else None)


def _span_s(stream: Stream) -> float:
    times_s = stream.delivered_at_s
    return times_s[-1] - times_s[0] if times_s else 0.0


def _percentile(values: np.typing.NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent))


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
