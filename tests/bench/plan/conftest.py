from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

TRACE = "arrival_s,input_tokens,output_tokens\n" + "".join(
    f"{0.02 * i:.2f},{100 + 7 * (i % 5)},{40 + 11 * (i % 7)}\n" for i in range(60)
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Sixty streams within 1.2 s, of 140 to 234 tokens each."""
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


class _Here:
    """As `bench.replay.workers.Workers`, in this process."""

    def __init__(self, count: int) -> None:
        self.rounds: list[int] = []

    def __enter__(self) -> "_Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def each(self, jobs: Mapping, do) -> Iterator[tuple]:
        self.rounds.append(len(jobs))
        for key, job in jobs.items():
            yield key, do(job)


@pytest.fixture
def workers_here() -> type[_Here]:
    """Runs jobs where the test runs."""
    return _Here
