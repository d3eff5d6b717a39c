import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qoe import Expectation, area_qoe, delay_qoe, stall_s

CASES = json.loads((Path(__file__).parents[1] / "data" / "qoe_cases.json").read_text())

deliveries = st.lists(st.floats(0, 5, allow_subnormal=False), min_size=1, max_size=60).map(
    np.cumsum
)
expectations = st.builds(Expectation, st.floats(0.1, 10), st.floats(0.5, 30))


@pytest.mark.parametrize("case", [pytest.param(c, id=c["name"]) for c in CASES])
def test_worked_cases_score_as_published(case: dict) -> None:
    expectation = Expectation(case["ttft_s"], case["tds"])
    area = area_qoe(case["delivered_at_s"], expectation)
    delay = delay_qoe(case["delivered_at_s"], expectation)
    assert area == pytest.approx(case["qoe_area"], abs=1e-6)
    assert delay == pytest.approx(case["qoe_delay"], abs=1e-6)


@given(deliveries, expectations)
def test_scores_stay_in_the_unit_interval(delivered, expectation) -> None:
    assert 0.0 <= area_qoe(delivered, expectation) <= 1.0
    assert 0.0 <= delay_qoe(delivered, expectation) <= 1.0 + 1e-12


@given(deliveries, expectations, st.floats(0.1, 10))
def test_a_later_stream_never_scores_better(delivered, expectation, shift_s) -> None:
    later = delivered + shift_s
    assert delay_qoe(later, expectation) <= delay_qoe(delivered, expectation) + 1e-9


@given(st.integers(1, 80), expectations, st.floats(1.0, 10.0))
def test_a_stream_ahead_of_its_reader_is_perfect(n, expectation, speed_up) -> None:
    ideal = expectation.ttft_s + np.arange(n) / expectation.tds
    assert area_qoe(ideal / speed_up, expectation) == pytest.approx(1.0)
    assert delay_qoe(ideal / speed_up, expectation) == pytest.approx(1.0)
    assert stall_s(ideal / speed_up, expectation) == pytest.approx(0.0, abs=1e-9)


def test_a_stream_without_tokens_scores_zero() -> None:
    expectation = Expectation(1.0, 5.0)
    assert area_qoe([], expectation) == 0.0
    assert delay_qoe([], expectation) == 0.0
    assert stall_s([], expectation) == 0.0


def test_stall_seconds_count_only_what_the_buffer_did_not_cover() -> None:
    # Two tokens at 5/s keep the reader busy until 0.4 s; the third comes at 1.0 s.
    assert stall_s([0.0, 0.0, 1.0], Expectation(1.0, 5.0)) == pytest.approx(0.6)


@pytest.mark.parametrize("bad", [[1.0, 0.5], [-1.0], [float("nan")], [float("inf")]])
def test_impossible_delivery_times_are_refused(bad) -> None:
    with pytest.raises(ValueError, match="delivered_at_s"):
        area_qoe(bad, Expectation(1.0, 5.0))
