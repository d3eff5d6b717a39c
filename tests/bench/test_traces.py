from pathlib import Path

import pytest

from bench.traces import (
    Request,
    TraceError,
    at_rate,
    draw_lengths,
    read_lengths,
    read_trace,
    select,
)

HEADER = "arrival_s,input_tokens,output_tokens\n"
EVERY_SECOND = [Request(float(i), 10, 20) for i in range(1000)]


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "trace.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_are_found_by_name_in_any_order_and_others_are_ignored(tmp_path) -> None:
    path = write(tmp_path, "turn,output_tokens, arrival_s ,input_tokens\n1,20,0.5,10\n")
    assert read_trace(path) == [Request(0.5, 10, 20)]


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_no_harm(tmp_path) -> None:
    text = "\ufeff" + HEADER.strip() + "\r\n0,1,2\r\n\r\n1,3,4\r\n\r\n"
    assert read_trace(write(tmp_path, text)) == [Request(0, 1, 2), Request(1, 3, 4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "the file is empty", id="empty file"),
        pytest.param(HEADER, "no requests", id="header only"),
        pytest.param(
            "arrival_s,input_tokens\n0,1\n",
            "row 1: no column output_tokens; the header has arrival_s, input_tokens",
            id="missing column",
        ),
        pytest.param(HEADER + "0,1,2\nx,1,2\n", "row 3: arrival_s=x is", id="not a number"),
        pytest.param(HEADER + "-1,1,2\n", "row 2: arrival_s=-1 is", id="negative arrival"),
        pytest.param(HEADER + "nan,1,2\n", "row 2: arrival_s=nan is", id="nan"),
        pytest.param(HEADER + "inf,1,2\n", "row 2: arrival_s=inf is", id="infinite"),
        pytest.param(HEADER + "0,0,2\n", "row 2: input_tokens=0 is", id="no input"),
        pytest.param(HEADER + "0,1,0\n", "row 2: output_tokens=0 is", id="no output"),
        pytest.param(HEADER + "0,1.5,2\n", "row 2: input_tokens=1.5 is", id="fraction"),
        pytest.param(HEADER + "0,1,nan\n", "row 2: output_tokens=nan is", id="nan tokens"),
        pytest.param(
            HEADER + "0,1,-3\n", "row 2: output_tokens=-3 is", id="negative tokens"
        ),
        pytest.param(HEADER + "0,1,99999999\n", "whole number from 1 to", id="huge tokens"),
        pytest.param(HEADER + "0,1\n", "row 2: output_tokens='' is", id="missing cell"),
        pytest.param(
            HEADER + "0,1,2\n\n5,1,2\n4.5,1,2\n",
            "row 5: arrival_s=4.5 comes before the row above (5)",
            id="unsorted, with a blank line before",
        ),
        pytest.param(b"\xff\xfe\x00", "not a CSV text file", id="binary"),
        pytest.param(",".join("abcdefghijklm"), "i, j and 3 more", id="wide header"),
        pytest.param("x" * 9999, f"has {'x' * 37}...", id="long header"),
        pytest.param(HEADER + "\x1b[2J,1,2\n", r"arrival_s=\x1b[2J is", id="not printable"),
    ],
)
def test_a_bad_trace_is_refused_in_one_line_with_file_and_row(
    tmp_path, text, message
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(TraceError) as refused:
        read_trace(path)
    assert str(refused.value).startswith(str(path))
    assert message in str(refused.value)
    assert str(refused.value).isprintable()
    assert refused.value.exit_code == 2


def test_a_missing_file_or_a_folder_is_refused_by_name(tmp_path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TraceError, match=str(path)):
            read_trace(path)


def test_without_scaling_a_trace_is_itself() -> None:
    assert select(EVERY_SECOND) == EVERY_SECOND


def test_the_window_begins_at_the_offset_and_counts_from_its_own_start() -> None:
    window = select(EVERY_SECOND, start_s=100.5, duration_s=10)
    assert [r.arrival_s for r in window] == [i - 0.5 for i in range(1, 11)]


def test_time_scale_compresses_arrivals_and_the_window_is_in_scaled_time() -> None:
    window = select(EVERY_SECOND, start_s=100, duration_s=10, time_scale=10)
    assert len(window) == 100
    assert window[7] == Request(0.7, 10, 20)


def test_a_request_at_the_end_of_the_window_is_outside() -> None:
    assert [r.arrival_s for r in select(EVERY_SECOND, duration_s=2)] == [0.0, 1.0]


@pytest.mark.parametrize("rate_scale", [0.25, 0.5, 1.5, 2.0, 3.7])
def test_rate_scale_changes_the_rate_and_not_the_time(rate_scale) -> None:
    scaled = select(EVERY_SECOND, rate_scale=rate_scale, seed=1)
    assert len(scaled) == pytest.approx(1000 * rate_scale, rel=0.07)
    arrivals = [r.arrival_s for r in scaled]
    assert arrivals == sorted(arrivals)
    assert 990 < arrivals[-1] < 1001
    first_half = sum(arrival < 500 for arrival in arrivals)
    assert first_half == pytest.approx(len(arrivals) / 2, rel=0.1)


def test_copies_arrive_apart_from_their_originals() -> None:
    arrivals = [r.arrival_s for r in select(EVERY_SECOND, rate_scale=2, seed=1)]
    assert len(set(arrivals)) == len(arrivals)


def test_draws_repeat_with_the_seed_and_differ_with_another() -> None:
    first, again, other = (
        select(EVERY_SECOND, rate_scale=0.5, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_longer_window_only_adds_to_a_shorter_one() -> None:
    short = select(EVERY_SECOND, rate_scale=1.5, duration_s=100, seed=3)
    longer = select(EVERY_SECOND, rate_scale=1.5, duration_s=300, seed=3)
    assert longer[: len(short)] == short


def test_nothing_comes_of_a_window_after_the_end() -> None:
    assert select(EVERY_SECOND, start_s=5000, rate_scale=2) == []


@pytest.mark.parametrize(
    "text",
    [
        "input_tokens,output_tokens\n1,2\n3,4\n",
        "output_tokens,session,input_tokens\n2,x,1\n\n4,y,3\n",
        "num_prefill_tokens,num_decode_tokens\n1,2\n3,4\n",
        "num_prefill_tokens,num_decode_tokens,output_tokens\n1,2,9\n3,4,9\n",
    ],
)
def test_lengths_are_read_by_either_pair_of_names(tmp_path, text) -> None:
    assert read_lengths(write(tmp_path, text)) == [(1, 2), (3, 4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("input_tokens,output_tokens\n", "no requests in the file"),
        ("input_tokens,x\n1,2\n", "row 1: no column output_tokens or num_prefill_tokens"),
        ("input_tokens,output_tokens\n1,2\n3,0\n", "row 3: output_tokens=0 is invalid"),
        ("input_tokens,output_tokens\n1\n", "row 2: output_tokens='' is invalid"),
    ],
)
def test_bad_lengths_are_refused_with_file_and_row(tmp_path, text, message) -> None:
    with pytest.raises(TraceError, match=message):
        read_lengths(write(tmp_path, text))


def test_drawn_lengths_leave_arrivals_alone_and_come_in_pairs() -> None:
    requests = [Request(0.5 * i, 1, 1) for i in range(40)]
    rows = [(10, 1), (20, 2), (30, 3)]
    drawn = draw_lengths(requests, rows, seed=4)
    assert [r.arrival_s for r in drawn] == [r.arrival_s for r in requests]
    assert {(r.input_tokens, r.output_tokens) for r in drawn} == set(rows)
    assert drawn == draw_lengths(requests, rows, seed=4)
    assert drawn != draw_lengths(requests, rows, seed=5)


def test_a_trace_at_a_rate_keeps_its_shape() -> None:
    requests = [Request(t, 1, 1) for t in (10.0, 11.0, 15.0)]
    assert [r.arrival_s for r in at_rate(requests, 4.0)] == pytest.approx([0.0, 0.1, 0.5])
