"""The page of a comparison of the ways to a client."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.markdown import pipe_table
from bench.paths.results import WAYS, PathsResult, WayRun

_COLUMNS: dict[str, tuple[Callable[[WayRun], float], float, int]] = {
    "TTFT p50, ms": (lambda run: run.summary.ttft_s.p50 or 0.0, 1000.0, 0),
    "TTFT p99, ms": (lambda run: run.summary.ttft_s.p99 or 0.0, 1000.0, 0),
    "tokens/s of a stream": (lambda run: run.summary.tds.p50 or 0.0, 1.0, 0),
    "tokens/s": (lambda run: run.summary.tokens_per_s, 1.0, 0),
    "CPU-s per 1,000 tokens": (lambda run: run.cpu_s_per_1000(engine=False), 1.0, 2),
    "the engines'": (lambda run: run.cpu_s_per_1000(engine=True), 1.0, 2),
    "failed": (lambda run: float(sum(run.summary.errors.values())), 1.0, 0),
}
_SAID = (
    "CPU time is that of the processes that a request or its tokens pass: HAProxy or "
    "Serve's proxy, the ingress, the router, the replicas; the engines stand beside them. "
    "What they spend idly while the load runs is in it. Tokens are timed from the moment "
    "the reader meant to send the request. The engines compute on the same cores, so a way "
    "that costs more also slows them down; with a GPU it would not."
)


def page(result: PathsResult) -> str:
    """The whole page, in markdown."""
    rounds = max(run.round for run in result.runs)
    rows = [
        (
            way.label,
            *(
                _spread(result.values(way, metric), scale, digits)
                for metric, scale, digits in _COLUMNS.values()
            ),
        )
        for way in WAYS
        if result.values(way, lambda run: 0.0)
    ]
    made_by = result.environment.made_by(result.command)
    return (
        "\n\n".join(
            [
                "# What the ways to a client cost",
                f"{made_by} {result.load}; {rounds} interleaved rounds, median [range].",
                pipe_table(("streaming, router", *_COLUMNS), rows),
                _SAID,
            ]
        ).replace("\n\n\n", "\n\n")
        + "\n"
    )


def _spread(values: Sequence[float], scale: float, digits: int) -> str:
    middle, low, high = (
        scale * value for value in (float(np.median(values)), min(values), max(values))
    )
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
