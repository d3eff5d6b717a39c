"""What more demand and more stall cost the readers an engine has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qoe import Expectation, StreamTable, delay_qoe
from qoe.marginal_loss import (
    DEMAND_AXIS_TOKENS,
    SHAPE,
    STALL_AXIS_S,
    EngineLoad,
    MarginalLossTables,
    marginal_loss_table,
)

rows = st.lists(
    st.tuples(
        st.floats(0.0, 60.0),
        st.floats(0.1, 10.0),
        st.floats(0.1, 50.0),
        st.integers(0, 300),
        st.floats(0.0, 60.0),
    ),
    max_size=20,
)
engines = st.fixed_dictionaries(
    {
        "kv_tokens": st.floats(0.0, 1e6),
        "context_tokens": st.floats(0.0, 5000.0),
        "step_base_s": st.floats(0.0, 0.5),
        "step_per_stream_s": st.floats(0.0, 0.05),
        "remaining_tokens": st.floats(0.0, 2000.0),
        "start_delay_s": st.floats(0.0, 5.0),
    }
)
tables = st.lists(st.floats(0.0, 100.0), min_size=63, max_size=63)
ROUNDING = 1e-9

# A reader of 5 tokens/s: (age_s, ttft_s, tds, tokens, delivered_ago_s).
BUFFERED = (10.0, 1.0, 5.0, 200, 1.0)
ON_TIME = (0.5, 1.0, 5.0, 1, 0.0)


@given(rows, engines)
def test_marginal_loss_is_nothing_at_the_origin_and_rises_along_both_axes(
    loss_of, rows, engine
) -> None:
    marginal_loss = loss_of(rows, **engine)
    assert marginal_loss.shape == SHAPE
    assert marginal_loss[0, 0] == 0.0
    assert (np.diff(marginal_loss, axis=0) >= -ROUNDING).all()
    assert (np.diff(marginal_loss, axis=1) >= -ROUNDING).all()


@given(rows, engines)
def test_no_stream_loses_more_than_all_it_has(loss_of, rows, engine) -> None:
    marginal_loss = loss_of(rows, **engine)
    assert np.isfinite(marginal_loss).all()
    assert (marginal_loss <= len(rows) + ROUNDING).all()


def test_a_stream_with_a_large_buffer_is_not_harmed_by_a_stall_it_can_read_through(
    loss_of,
) -> None:
    assert not loss_of([BUFFERED] * 10).any()


def test_a_stream_with_a_large_buffer_adds_nothing_for_a_small_demand(loss_of) -> None:
    """Memory and steps for ten: with more, all fall behind, by less than their buffer."""
    scarce = {"kv_tokens": 3000.0, "step_base_s": 0.15, "step_per_stream_s": 0.005}
    buffered = loss_of([BUFFERED] * 10, **scarce)
    on_time = loss_of([ON_TIME] * 10, **scarce)
    small = DEMAND_AXIS_TOKENS.index(1024)
    assert not buffered[: small + 1, 0].any()
    assert on_time[small, 0] > 0.0
    assert buffered[-1, 0] > 0.0


def test_demand_that_fits_and_slows_nobody_harms_nobody(loss_of) -> None:
    roomy = loss_of([ON_TIME] * 5, kv_tokens=1e6, step_per_stream_s=0.0)
    assert not roomy[:, 0].any()
    assert roomy[0, -1] > 0.0


def test_a_stream_waiting_for_its_first_token_has_the_patience_of_its_reader(
    loss_of,
) -> None:
    patient = (0.0, 1.0, 5.0, 0, 0.0)
    marginal_loss = loss_of([patient])[0]
    stall_s = np.array(STALL_AXIS_S)
    assert not marginal_loss[stall_s <= 1.0].any()
    assert marginal_loss[-1] > 0.0
    # Half of its patience is promised to those before it.
    late = loss_of([patient], start_delay_s=0.5)[0]
    assert not late[stall_s <= 0.5].any()
    assert late[stall_s > 0.5].all()


def test_weights_scale_what_a_reader_loses() -> None:
    readers = StreamTable()
    slots = np.array([readers.add(Expectation(1.0, 5.0), 0.0)])
    load = EngineLoad(1e5, 100.0, 0.02, 0.001)
    one, tenth = (
        marginal_loss_table(
            readers, slots, 2.0, load, remaining_tokens=np.array([50.0]), weight=weight
        )
        for weight in (1.0, 0.1)
    )
    assert tenth == pytest.approx(one / 10)


@pytest.mark.parametrize("stall_s", STALL_AXIS_S)
@pytest.mark.parametrize("delivered", [20, 60])
def test_a_stall_costs_what_the_score_of_the_finished_stream_says(
    stall_s: float, delivered: int
) -> None:
    """Token by token: `delivered` at 1.5 s, then 100 at the reader's pace or stalled."""
    expectation, now_s, more = Expectation(1.0, 5.0), 6.0, 100
    readers = StreamTable()
    slots = np.array([readers.add(expectation, 0.0)])
    readers.deliver(slots, np.array([float(delivered)]), 1.5)
    marginal_loss = marginal_loss_table(
        readers,
        slots,
        now_s,
        EngineLoad(1e6, 100.0, 0.02, 0.0),
        remaining_tokens=np.array([float(more)]),
    )
    begun = np.full(delivered, 1.5)
    goes_on = now_s + np.arange(more) / 5.0
    lost = delay_qoe(np.concatenate([begun, goes_on]), expectation) - delay_qoe(
        np.concatenate([begun, goes_on + stall_s]), expectation
    )
    assert marginal_loss[0, STALL_AXIS_S.index(stall_s)] == pytest.approx(lost, abs=0.002)


@given(st.lists(tables, min_size=1, max_size=4), st.integers(0, 8), st.integers(0, 6))
def test_looking_up_a_grid_point_gives_the_grid(
    rows: list[list[float]], i: int, j: int
) -> None:
    n = len(rows)
    found = MarginalLossTables(rows).lookup(
        np.full(n, float(DEMAND_AXIS_TOKENS[i])), np.full(n, STALL_AXIS_S[j])
    )
    assert found == pytest.approx(np.array(rows).reshape(n, *SHAPE)[:, i, j])


@given(tables, st.floats(0.0, 1e6), st.floats(0.0, 100.0))
def test_looking_up_stays_within_the_four_corners(
    table: list[float], x_tokens: float, stall_s: float
) -> None:
    grid = np.array(table).reshape(SHAPE)
    i = min(np.searchsorted(DEMAND_AXIS_TOKENS, x_tokens, side="right") - 1, 7)
    j = min(np.searchsorted(STALL_AXIS_S, stall_s, side="right") - 1, 5)
    corners = grid[i : i + 2, j : j + 2]
    (found,) = MarginalLossTables([table]).lookup(np.array([x_tokens]), np.array([stall_s]))
    assert corners.min() - ROUNDING <= found <= corners.max() + ROUNDING


def test_halfway_between_grid_points_is_their_mean() -> None:
    table = np.zeros(SHAPE)
    table[0, 1], table[1, 1] = 1.0, 3.0
    found = MarginalLossTables([table.ravel()]).lookup(np.array([128.0]), np.array([0.025]))
    assert found == pytest.approx([1.0])


@pytest.mark.parametrize(
    "table", [[], [1.0] * 62, [float("nan")] * 63, [float("inf")] * 63], ids=len
)
def test_a_replica_without_a_good_table_harms_nobody(table: list[float]) -> None:
    tables = MarginalLossTables([[1.0] * 63, table])
    x_tokens, stall_s = np.full(2, 500.0), np.full(2, 0.3)
    assert tables.lookup(x_tokens, stall_s).tolist() == [1.0, 0.0]
    tables.replace(0, table)
    assert tables.lookup(x_tokens, stall_s).tolist() == [0.0, 0.0]
