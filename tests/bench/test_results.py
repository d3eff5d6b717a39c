import io
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.report import caveats, render_table
from bench.results import (
    Result,
    Stream,
    environment,
    read_result,
    summarise,
    write_result,
)
from bench.scores import Scores


def stream(delivered_at_s, *, arrival_s: float = 0.0, **fields) -> Stream:
    """A stream whose reader expects the first token at 1 s, then 5 tokens/s."""
    return Stream(
        arrival_s=arrival_s,
        input_tokens=10,
        output_tokens=fields.pop("output_tokens", len(delivered_at_s)),
        ttft_s=1.0,
        tds=5.0,
        delivered_at_s=list(delivered_at_s),
        **fields,
    )


# Delivered exactly as expected: both scores are 1.
IDEAL = stream(1.0 + np.arange(10) / 5.0)
# All ten tokens at 2.8 s, the moment the last was expected: nothing has been read by then,
# so the area score is 0; the delay score is sum(e)/sum(c) = (10 + 9)/(28 + 9) = 19/37.
LATE = stream([2.8] * 10)
FAILED = stream([], output_tokens=10, error="http_400", error_message="qoe_tds\n is bad")


def test_scores_of_closed_form_streams_are_their_known_values() -> None:
    summary = summarise([IDEAL, LATE])
    assert summary.mean_qoe_area == pytest.approx(0.5)
    assert summary.mean_qoe_delay == pytest.approx((1 + 19 / 37) / 2)
    assert summary.p5_qoe_area == pytest.approx(0.05)
    assert summary.share_qoe_area_ge_0_95 == 0.5
    assert summary.share_qoe_delay_ge_0_95 == 0.5
    assert summary.p5_qoe_delay == pytest.approx(19 / 37 + 0.05 * (1 - 19 / 37))


def test_a_failed_reader_is_not_a_missing_reader() -> None:
    summary = summarise([IDEAL, FAILED])
    assert summary.mean_qoe_area == pytest.approx(0.5)
    assert summary.mean_qoe_delay == pytest.approx(0.5)
    assert summary.requests == 2
    assert summary.errors == {"http_400": 1}
    assert summary.short == 0


def test_a_stream_without_a_first_token_has_no_ttft() -> None:
    assert summarise([IDEAL, FAILED]).ttft_s.mean == pytest.approx(1.0)
    nothing = summarise([FAILED])
    assert (nothing.ttft_s.mean, nothing.ttft_s.p50, nothing.tds.p50) == (None, None, None)
    assert nothing.tokens_per_s == 0.0


def test_ttft_percentiles_are_those_of_the_first_tokens() -> None:
    ttft = summarise([stream([i / 100]) for i in range(101)]).ttft_s
    assert (ttft.mean, ttft.p50, ttft.p99) == pytest.approx((0.5, 0.5, 0.99))


def test_stall_seconds_are_those_the_buffer_did_not_cover() -> None:
    # Two tokens at 5/s keep the reader busy until 0.4 s; the third comes 1.6 s later.
    stall = summarise([IDEAL, stream([0.0, 0.0, 2.0])]).stall_s
    assert (stall.mean, stall.max) == pytest.approx((0.8, 1.6))
    assert stall.p99 == pytest.approx(1.6 * 0.99)


def test_tds_is_the_pace_after_the_first_token() -> None:
    streams = [stream(7.0 + np.arange(6) / pace) for pace in (10, 20, 30)]
    one_instant, one_token = stream([1.0, 1.0]), stream([1.0])
    assert summarise([*streams, one_instant, one_token]).tds.p50 == pytest.approx(20.0)


def test_tokens_per_s_is_over_the_run_from_its_start_to_its_last_token() -> None:
    summary = summarise([IDEAL, stream([0.5] * 10, arrival_s=3.5)])
    assert summary.makespan_s == pytest.approx(4.0)
    assert summary.tokens_per_s == pytest.approx(20 / 4.0)


def test_a_short_answer_is_counted_apart_from_errors() -> None:
    summary = summarise([IDEAL, stream([1.0, 1.2], output_tokens=3)])
    assert (summary.short, summary.errors) == (1, {})


def test_cancelled_streams_are_counted_and_nothing_else() -> None:
    cancelled = stream([9.0], output_tokens=5, error="cancelled")
    summary = summarise([IDEAL, cancelled])
    assert (summary.requests, summary.cancelled, summary.errors) == (1, 1, {})
    assert summary.mean_qoe_area == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no stream has ended"):
        summarise([cancelled])


def test_send_lag_and_clipped_requests_are_reported() -> None:
    summary = summarise([stream([1.0], send_lag_s=i / 100) for i in range(101)], clipped=3)
    assert (summary.send_lag_s.p99, summary.send_lag_s.max) == pytest.approx((0.99, 1.0))
    assert summary.clipped == 3


def test_a_result_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    streams = [stream([1 / 3, 2 / 3]), FAILED]
    summary = summarise(streams)
    result = Result(
        label="a",
        arguments={"seed": 1},
        environment=environment(),
        summary=summary,
        streams=streams,
    )
    write_result(path, result)
    again = read_result(path)
    assert again.summary == summary
    assert again.streams[0].delivered_at_s == [0.3333, 0.6667]
    assert again.streams[1] == FAILED
    assert again.environment.python.startswith("3.")
    assert result.streams[0].delivered_at_s == [1 / 3, 2 / 3]


def test_the_table_has_a_column_a_run_and_a_dash_for_what_was_not_measured() -> None:
    runs = [("first", summarise([IDEAL])), ("second", summarise([FAILED]))]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_table(runs, title="Two runs"))
    text = console.export_text()
    assert all(word in text for word in ("Two runs", "first", "second", "makespan, s"))
    mean_ttft = next(line for line in text.splitlines() if "TTFT" in line)
    assert "1.00" in mean_ttft
    assert "–" in mean_ttft


def test_a_clean_run_has_no_caveats() -> None:
    assert caveats(summarise([IDEAL]), [IDEAL]) == []


def test_each_caveat_says_what_happened_in_one_line() -> None:
    streams = [
        stream([1.0], output_tokens=2, send_lag_s=0.5),
        stream([], error="cancelled"),
        FAILED,
    ]
    said = caveats(summarise(streams, clipped=4), streams)
    assert said[0] == "1 × http_400: qoe_tds is bad"
    assert any("bottleneck" in line for line in said)
    assert any("ended without error before" in line for line in said)
    assert any("4 requests were clipped" in line for line in said)
    assert any("1 streams were cut off" in line for line in said)
    assert not any("\n" in line for line in said)


def test_a_stream_that_was_never_scored_delivered_nothing() -> None:
    scores = Scores([0.0, 4.0])
    scores.score(0, IDEAL.delivered_at_s, IDEAL.expectation)
    quality = scores.quality()
    assert quality.requests == 2
    assert quality.mean_qoe_area == pytest.approx(0.5)
    assert quality.ttft_s.mean == pytest.approx(1.0)
    assert scores.makespan_s == 4.0


def test_percentiles_of_one_stream_are_that_stream() -> None:
    summary = summarise([IDEAL])
    assert math.isclose(summary.p5_qoe_area, summary.mean_qoe_area)
