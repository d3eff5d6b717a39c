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

from bench.scores import Quality, Scores, percentile
from qoe import Expectation

CANCELLED, REFUSED = "cancelled", "refused"


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


class SendLag(msgspec.Struct, frozen=True):
    """Seconds by which the client itself sent late."""

    p99: float
    max: float


class Summary(Quality, frozen=True, kw_only=True):
    """One run in numbers. `requests` are the streams that ended, well or not.

    Attributes:
        errors: Streams that failed, by kind.
        refused: Streams that the service refused, since their patience was over; counted
            with QoE 0, and in no other place.
        short: Streams that ended well with fewer tokens than asked for.
        clipped: Requests cut to what the model or the options allow.
        cancelled: Streams cut off because the run was stopped; not counted anywhere else.
        makespan_s: From the start of the run to the last token.
    """

    errors: dict[str, int]
    short: int
    clipped: int
    cancelled: int
    makespan_s: float
    send_lag_s: SendLag
    refused: int = 0


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run was made; `commit` and `dirty` are None outside a git checkout."""

    commit: str | None
    dirty: bool | None
    python: str
    cpu_count: int | None

    def made_by(self, command: str) -> str:
        """One sentence: where the numbers of a page come from."""
        commit = (self.commit or "unknown")[:12]
        dirty = " with local changes" if self.dirty else ""
        return f"Made by `{command}` at commit {commit}{dirty}, {self.cpu_count} CPU cores."


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
    scores = Scores([stream.arrival_s for stream in ended])
    for row, stream in enumerate(ended):
        scores.score(row, stream.delivered_at_s, stream.expectation)
    lags_s = np.array([s.send_lag_s for s in ended])
    return Summary(
        **msgspec.structs.asdict(scores.quality()),
        errors=dict(
            Counter(s.error for s in ended if s.error not in (None, REFUSED)).most_common()
        ),
        refused=sum(s.error == REFUSED for s in ended),
        short=sum(
            s.error is None and len(s.delivered_at_s) < s.output_tokens for s in ended
        ),
        clipped=clipped,
        cancelled=len(streams) - len(ended),
        makespan_s=scores.makespan_s,
        send_lag_s=SendLag(percentile(lags_s, 99), float(lags_s.max())),
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
