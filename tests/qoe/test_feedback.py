"""What clients may say of their readers, and what a table of streams makes of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qoe import Expectation, ExpectationError, Feedback, StreamTable, parse_feedback
from qoe.stream_table import AWAY_SLACK_S

SLOT = np.array([0])
READER = Expectation(ttft_s=1.0, tds=5.0)
UNSAID = np.array([np.nan])


@pytest.mark.parametrize(
    ("body", "feedback"),
    [
        ({"buffer_tokens": 0}, Feedback(buffer_tokens=0.0)),
        ({"buffer_tokens": 12.5, "paused": True}, Feedback(12.5, True)),
        ({"paused": False, "tds": 8}, Feedback(paused=False, tds=8.0)),
    ],
)
def test_a_client_says_what_it_knows(body, feedback) -> None:
    assert parse_feedback(body) == feedback


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ({"buffer_tokens": -1}, "buffer_tokens", "0 to 1e+06 tokens"),
        ({"buffer_tokens": 2e6}, "buffer_tokens", "0 to 1e+06 tokens"),
        ({"buffer_tokens": float("nan")}, "buffer_tokens", "0 to 1e+06 tokens"),
        ({"buffer_tokens": "10"}, "buffer_tokens", "0 to 1e+06 tokens"),
        ({"buffer_tokens": True}, "buffer_tokens", "0 to 1e+06 tokens"),
        ({"buffer_tokens": None}, "buffer_tokens", "0 to 1e+06 tokens"),
        ({"paused": 1}, "paused", "true or false"),
        ({"paused": None}, "paused", "true or false"),
        ({"tds": 0}, "tds", "0.01 to 1000 tokens/s"),
        ({"tds": 10**30}, "tds", "0.01 to 1000 tokens/s"),
        ({"paused": True, "qoe_tds": 5}, "qoe_tds", "buffer_tokens, paused, tds"),
        ({}, "body", "buffer_tokens or paused or tds"),
        ([], "body", "a JSON object"),
        ("paused", "body", "a JSON object"),
    ],
)
def test_a_bad_word_is_refused_by_name_value_and_range(body, field, allowed) -> None:
    with pytest.raises(ExpectationError) as caught:
        parse_feedback(body)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}=")
    assert allowed in str(caught.value)


def test_two_words_are_one_whose_later_part_counts() -> None:
    said = Feedback(tds=3.0).after(Feedback(buffer_tokens=2.0, paused=True, tds=9.0))
    assert said == Feedback(2.0, True, 3.0)


def begun(tokens: float = 100.0) -> StreamTable:
    """A stream that got its tokens after half a second, all at once."""
    table = StreamTable(capacity=2)
    table.add(READER, 0.0)
    table.deliver(SLOT, np.array([tokens]), 0.5)
    return table


def on_feedback(table: StreamTable, now_s: float, **said: float) -> None:
    table.hold(now_s)
    words = [np.array([said.get(name, np.nan)]) for name in ("buffer", "tds", "away")]
    table.on_feedback(SLOT, words[0], words[1], words[2], now_s)


def test_a_buffer_is_what_its_reader_says_it_is() -> None:
    table = begun()
    on_feedback(table, 2.0, buffer=20.0)
    assert table.slack_s(SLOT, 2.0)[0] == pytest.approx(4.0)
    # Nobody has more to read than was ever delivered.
    on_feedback(table, 2.0, buffer=1e6)
    assert table.slack_s(SLOT, 2.0)[0] == pytest.approx(20.0)


def test_who_was_late_and_says_so_stays_late() -> None:
    table = begun(tokens=5.0)
    assert table.slack_s(SLOT, 4.0)[0] == pytest.approx(-2.5)
    on_feedback(table, 4.0, buffer=0.0)
    assert table.slack_s(SLOT, 4.0)[0] == pytest.approx(-2.5)


def test_another_pace_reads_the_same_tokens_in_another_time() -> None:
    table = begun()
    on_feedback(table, 0.5, tds=10.0)
    assert table.slack_s(SLOT, 0.5)[0] == pytest.approx(10.0)
    assert table.tds[0] == 10.0


@settings(deadline=None)
@given(st.floats(0.6, 30.0), st.floats(0.5, 20.0), st.floats(0.1, 30.0))
def test_a_change_of_pace_makes_no_jump_in_what_is_expected_or_read(
    changed_s, tds, later_s
) -> None:
    table, unchanged = begun(1000.0), begun(1000.0)
    on_feedback(table, changed_s, tds=tds)
    assert table.qoe(SLOT, changed_s) == pytest.approx(unchanged.qoe(SLOT, changed_s))
    # Whoever is never out of text scores as well at the new pace as at the old one.
    end_s = changed_s + later_s
    if table.slack_s(SLOT, end_s)[0] > 0 and unchanged.slack_s(SLOT, end_s)[0] > 0:
        assert table.qoe(SLOT, end_s)[0] == pytest.approx(1.0, abs=1e-6)


@settings(deadline=None)
@given(st.floats(0.6, 20.0), st.floats(0.1, 50.0), st.floats(0.1, 10.0), st.integers(1, 60))
def test_time_spent_away_is_no_time_at_all(paused_s, away_s, later_s, tokens) -> None:
    away, stayed = begun(float(tokens)), begun(float(tokens))
    on_feedback(away, paused_s, away=paused_s + 60.0)
    away.hold(paused_s + away_s / 3)
    on_feedback(away, paused_s + away_s, away=0.0)
    end_s = paused_s + later_s
    for table, at_s in ((away, end_s + away_s), (stayed, end_s)):
        table.deliver(SLOT, np.array([3.0]), at_s)
    for measure in (StreamTable.qoe, StreamTable.slack_s):
        assert measure(away, SLOT, end_s + away_s + 2.0) == pytest.approx(
            measure(stayed, SLOT, end_s + 2.0), abs=1e-6
        )
    assert away.final_qoe(0) == pytest.approx(stayed.final_qoe(0), abs=1e-6)
    assert away.num_away == 0


def test_who_is_away_notices_nothing_gains_nothing_and_loses_nothing() -> None:
    table = begun(tokens=1.0)
    on_feedback(table, 3.0, away=63.0)
    table.hold(9.0)
    assert table.slack_s(SLOT, 9.0)[0] == AWAY_SLACK_S
    forecast = table.forecast(SLOT, 9.0, 5.0)
    served = forecast.served(np.array([0.02]), 50.0)
    assert served[0] == forecast.waiting()[0] == 1.0


def test_a_pause_that_nobody_repeats_ends() -> None:
    table = begun()
    on_feedback(table, 2.0, away=62.0)
    before = table.slack_s(SLOT, 2.0)
    assert before == AWAY_SLACK_S
    table.hold(70.0)
    assert table.num_away == 0
    # 18.5 s were left at 2 s; eight of them have been read since the pause ended.
    assert table.slack_s(SLOT, 70.0)[0] == pytest.approx(10.5)


def test_the_next_stream_in_a_slot_is_not_away() -> None:
    table = begun()
    on_feedback(table, 2.0, away=62.0)
    table.remove(0)
    assert table.num_away == 0
    assert table.add(READER, 5.0) == 0
    assert not table.is_away(SLOT)[0]


@pytest.mark.parametrize(
    "said", [{"tds": 0.0}, {"tds": float("nan")}, {"buffer_tokens": -1}]
)
def test_there_is_no_feedback_out_of_range(said) -> None:
    """An engine makes it from bytes, and reckons with it."""
    with pytest.raises(ExpectationError):
        Feedback(**said)


@pytest.mark.parametrize("name", ["\ud800", "", "x" * 4000, "\x1b[2J"])
def test_a_field_is_named_in_one_short_line_whatever_it_is_called(name) -> None:
    with pytest.raises(ExpectationError) as caught:
        parse_feedback({name: 1})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
