"""A stream that goes on elsewhere is, to its new engine, the one that its reader knows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qoe import (
    FRESH,
    Expectation,
    ExpectationError,
    Progress,
    StreamTable,
    parse_progress,
    progress_or_fresh,
    resumed_token_ids,
)

SLOT = np.array([0])
expectations = st.builds(Expectation, st.floats(0.1, 5), st.floats(0.5, 20))


def resumed(expectation: Expectation, progress: Progress, now_s: float) -> StreamTable:
    table = StreamTable(capacity=1)
    table.add(
        expectation,
        now_s - progress.age_s,
        progress.tokens,
        progress.read_until_s(expectation, now_s),
    )
    return table


@given(expectations, st.integers(1, 200), st.floats(0, 3), st.floats(0, 60))
def test_a_stream_told_its_slack_scores_as_if_it_had_never_moved(
    expectation, tokens, first_at_s, waited_s
) -> None:
    never_moved = StreamTable(capacity=1)
    never_moved.add(expectation, 0.0)
    never_moved.deliver(SLOT, np.array([float(tokens)]), first_at_s)
    now_s = first_at_s + waited_s
    slack_s = float(never_moved.slack_s(SLOT, now_s)[0])
    moved = resumed(expectation, Progress(tokens, now_s, slack_s), now_s)
    for table in (never_moved, moved):
        table.deliver(SLOT, np.array([3.0]), now_s + 0.5)
    later_s = now_s + 9.0
    assert moved.slack_s(SLOT, later_s) == pytest.approx(
        never_moved.slack_s(SLOT, later_s), abs=1e-6
    )
    assert moved.qoe(SLOT, later_s) == pytest.approx(
        never_moved.qoe(SLOT, later_s), abs=1e-6
    )


def test_without_a_slack_the_tokens_are_thought_to_have_come_when_expected() -> None:
    reader = Expectation(1.0, 5.0)
    # Ten seconds of text from the second second on.
    table = resumed(reader, Progress(tokens=50, age_s=8.0), now_s=100.0)
    assert table.slack_s(SLOT, 100.0) == pytest.approx(3.0)
    assert table.qoe(SLOT, 100.0) == pytest.approx(1.0)
    late = resumed(reader, Progress(tokens=10, age_s=13.0), now_s=100.0)
    assert late.slack_s(SLOT, 100.0) == pytest.approx(-10.0)
    assert 0.0 < late.qoe(SLOT, 100.0)[0] < 0.5


def test_a_reader_who_has_nothing_yet_has_waited_all_the_same() -> None:
    table = resumed(Expectation(2.0, 5.0), Progress(age_s=3.0), now_s=100.0)
    assert table.slack_s(SLOT, 100.0) == pytest.approx(-1.0)
    assert table.qoe(SLOT, 100.0)[0] == 0.0


@given(
    expectations,
    st.integers(0, 5000),
    st.floats(0, 3600),
    st.none() | st.floats(-3600, 3600),
)
def test_whatever_is_claimed_the_score_stays_a_score(
    expectation, tokens, age_s, slack_s
) -> None:
    table = resumed(expectation, Progress(tokens, age_s, slack_s), now_s=5000.0)
    for now_s in (5000.0, 5001.0, 5060.0):
        assert 0.0 <= table.qoe(SLOT, now_s)[0] <= 1.0


def test_progress_is_read_off_the_fields() -> None:
    fields = {"qoe_resume_token_ids": [5, 6], "qoe_age_s": 4, "qoe_slack_s": -1.5}
    assert parse_progress(fields) == Progress(2, 4.0, -1.5)
    assert parse_progress(None) == parse_progress({"qoe_tds": 3}) == FRESH


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("qoe_age_s", -1, "0 to 3600 seconds"),
        ("qoe_age_s", "old", "0 to 3600 seconds"),
        ("qoe_slack_s", 1e6, "-3600 to 3600 seconds"),
        ("qoe_slack_s", None, "-3600 to 3600 seconds"),
        ("qoe_resume_token_ids", "1,2", "a list of token ids"),
        ("qoe_resume_token_ids", [1, -2], "integers from 0 to 2147483647"),
        ("qoe_resume_token_ids", [1.5], "a list of token ids"),
        ("qoe_resume_token_ids", [True], "a list of token ids"),
        ("qoe_resume_token_ids", [2**31], "a list of token ids"),
        ("qoe_resume_token_ids", None, "a list of token ids"),
    ],
)
def test_a_bad_value_is_named_with_its_field_and_range(field, value, allowed) -> None:
    with pytest.raises(ExpectationError, match=f"{field}=.*{allowed}"):
        parse_progress({field: value})
    assert progress_or_fresh({field: value}) is FRESH


def test_no_tokens_received_is_a_stream_that_begins() -> None:
    assert resumed_token_ids({"qoe_resume_token_ids": []}) == []
