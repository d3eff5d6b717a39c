from collections.abc import Callable
from pathlib import Path

import pytest

from bench.replay.arguments import Cell

TRACE = "arrival_s,input_tokens,output_tokens\n" + "".join(
    f"{0.01 * i:.2f},{100 + 7 * (i % 5)},{40 + 11 * (i % 7)}\n" for i in range(60)
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Sixty streams within 0.6 s, of 140 to 234 tokens each."""
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


@pytest.fixture
def make_cell(trace: Path) -> Callable[..., Cell]:
    """A cell whose engine holds about four of the streams of `trace`."""

    def make(**fields) -> Cell:
        if not fields.get("synthetic"):
            fields.setdefault("trace", trace)
        fields.setdefault("kv_tokens", 800)
        return Cell(**fields)

    return make
