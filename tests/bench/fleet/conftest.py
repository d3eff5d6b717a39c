from collections.abc import Callable
from pathlib import Path

import pytest

from bench.replay.arguments import Cell

NUM_STREAMS = 72


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Streams within 2.9 s, of 140 to 234 tokens each, and no two at one moment."""
    path = tmp_path / "trace.csv"
    path.write_text(
        "arrival_s,input_tokens,output_tokens\n"
        + "".join(
            f"{0.04 * i:.2f},{100 + 7 * (i % 5)},{40 + 11 * (i % 7)}\n"
            for i in range(NUM_STREAMS)
        )
    )
    return path


@pytest.fixture
def make_cell(trace: Path) -> Callable[..., Cell]:
    """A cell whose engines hold some ten of the streams of `trace`."""

    def make(**fields) -> Cell:
        fields.setdefault("trace", trace)
        fields.setdefault("kv_tokens", 2000)
        return Cell(**fields)

    return make
