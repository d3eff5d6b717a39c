"""A trace is a list of requests in order, or refused by its file and row."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.traces import TraceError, read_lengths, read_trace

TRACE = (
    b"arrival_s,input_tokens,output_tokens,session_id\r\n"
    b'0.0,100,20,"a"\r\n1.5,7,1,b\r\n\r\n2e1,10000000,3,"c,d"\r\n'
)
HEADER = "input_tokens,arrival_s,output_tokens"
CELLS = ["", "nan", "inf", "-1", "1e999", "0x10", "1_0", "९", "2.5", "1" * 400, '"', '"\n"']


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trace") / "trace.csv"


def contents(fuzz: Any) -> st.SearchStrategy[bytes]:
    rows = st.lists(
        st.lists(st.sampled_from(CELLS) | fuzz.texts, max_size=5).map(",".join), max_size=4
    )
    table = rows.map(lambda lines: "\n".join([HEADER, *lines]))
    return fuzz.garbled(TRACE) | table.map(lambda text: text.encode(errors="replace"))


@given(st.data())
def test_a_file_is_a_trace_or_refused(
    fuzz: Any, path: Path, sentence: Callable[[object], str], data: st.DataObject
) -> None:
    path.write_bytes(data.draw(contents(fuzz)))
    try:
        requests = read_trace(path)
    except TraceError as error:
        assert sentence(error).startswith(str(path))  # noqa: PT017 - some files are good
        return
    assert requests
    for request in requests:
        assert 0 <= request.arrival_s <= 1e9
        assert 1 <= request.input_tokens <= 1e7
        assert 1 <= request.output_tokens <= 1e7
    assert all(a.arrival_s <= b.arrival_s for a, b in pairwise(requests))


@given(st.data())
def test_a_file_is_a_list_of_lengths_or_refused(
    fuzz: Any, path: Path, sentence: Callable[[object], str], data: st.DataObject
) -> None:
    path.write_bytes(data.draw(contents(fuzz)))
    try:
        lengths = read_lengths(path)
    except TraceError as error:
        assert sentence(error).startswith(str(path))  # noqa: PT017 - some files are good
        return
    assert all(1 <= tokens <= 1e7 for pair in lengths for tokens in pair)
