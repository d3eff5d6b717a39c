"""The table against a token-by-token simulation of the same stream."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qoe import Expectation, StreamTable
from qoe.metrics import digestion_starts

steps = st.lists(st.tuples(st.floats(0.01, 3.0), st.integers(0, 30)), max_size=30)
expectations = st.builds(Expectation, st.floats(0.1, 5), st.floats(0.5, 20))


def simulated_qoe(delivered_at_s, end_s: float, expectation: Expectation) -> float:
    """Area QoE at `end_s` of a stream with more to come, one token at a time."""
    late_s = end_s - expectation.ttft_s
    if late_s <= 0:
        return 1.0
    starts = digestion_starts(np.asarray(delivered_at_s, dtype=float), expectation.tds)
    area = 0.0
    for start_s in starts:
        reading_s, token_s = max(0.0, end_s - start_s), 1 / expectation.tds
        partial = reading_s**2 * expectation.tds / 2
        area += partial if reading_s < token_s else reading_s - token_s / 2
    return min(1.0, area / (expectation.tds * late_s**2 / 2))


def table_of(expectation: Expectation, history) -> tuple[StreamTable, list[float], float]:
    table = StreamTable(capacity=1)
    slot, now_s, delivered = table.add(expectation, 0.0), 0.0, []
    for gap_s, tokens in history:
        now_s += gap_s
        delivered += [now_s] * tokens
        if tokens:
            table.deliver(np.array([slot]), np.array([float(tokens)]), now_s)
    return table, delivered, now_s


SLOT = np.array([0])


@given(expectations, steps, st.floats(0.1, 20))
def test_waiting_forecast_is_the_simulation_without_deliveries(
    expectation, history, horizon_s
) -> None:
    table, delivered, now_s = table_of(expectation, history)
    forecast = table.forecast(SLOT, now_s, horizon_s).waiting()[0]
    assert forecast == pytest.approx(
        simulated_qoe(delivered, now_s + horizon_s, expectation), abs=1e-6
    )


@given(expectations, steps, st.floats(0.5, 20), st.floats(0, 3), st.floats(0.3, 40))
def test_served_forecast_is_the_simulation_to_a_token(
    expectation, history, horizon_s, delay_s, tokens_per_s
) -> None:
    table, delivered, now_s = table_of(expectation, history)
    end_s = now_s + horizon_s
    coming = np.arange(now_s + delay_s, end_s, 1 / tokens_per_s)
    simulated = simulated_qoe([*delivered, *coming], end_s, expectation)
    forecast = table.forecast(SLOT, now_s, horizon_s).served(
        np.array([delay_s]), tokens_per_s
    )
    late_s = max(end_s - expectation.ttft_s, 0.0)
    expected_area = expectation.tds * late_s**2 / 2
    one_token_area = horizon_s * 1.0 if tokens_per_s < expectation.tds else 1e-6
    assert (
        abs(forecast[0] - simulated) * expected_area
        <= one_token_area + 1e-6 * expected_area
    )


@given(expectations, steps, st.floats(0.5, 20), st.floats(0, 3))
def test_service_never_forecasts_worse_than_waiting(
    expectation, history, horizon_s, delay_s
) -> None:
    table, _, now_s = table_of(expectation, history)
    forecast = table.forecast(SLOT, now_s, horizon_s)
    served = forecast.served(np.array([delay_s]), 50.0)
    assert served[0] >= table.forecast(SLOT, now_s, horizon_s).waiting()[0] - 1e-9


def test_a_stream_without_a_token_scores_zero_once_its_ttft_has_passed() -> None:
    table, _, _ = table_of(Expectation(1.0, 5.0), [])
    assert table.qoe(SLOT, 0.9)[0] == 1.0
    assert table.qoe(SLOT, 1.1)[0] == 0.0


def test_slack_is_patience_before_the_first_token_and_buffer_after_it() -> None:
    table, _, _ = table_of(Expectation(2.0, 5.0), [])
    assert table.slack_s(SLOT, 0.5)[0] == pytest.approx(1.5)
    table.deliver(SLOT, np.array([10.0]), 0.5)
    assert table.slack_s(SLOT, 1.0)[0] == pytest.approx(1.5)
    assert table.slack_s(SLOT, 4.0)[0] == pytest.approx(-1.5)


def test_a_reused_slot_remembers_nothing() -> None:
    table, _, _ = table_of(Expectation(1.0, 5.0), [(0.1, 100)])
    table.remove(0)
    assert len(table) == 0
    assert table.add(Expectation(1.0, 5.0), 10.0) == 0
    assert table.qoe(SLOT, 12.0)[0] == 0.0


def test_growing_keeps_every_stream_as_it_was() -> None:
    table = StreamTable(capacity=2)
    slots = np.array([table.add(Expectation(1.0 + i, 5.0), float(i)) for i in range(37)])
    assert len(set(slots.tolist())) == 37 == len(table)
    assert table.arrived_at_s[slots].tolist() == [float(i) for i in range(37)]
