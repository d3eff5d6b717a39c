from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qoe import Expectation
from qoe.forecast import Forecast
from qoe.marginal_loss import DEMAND_AXIS_TOKENS, STALL_AXIS_S
from router.cost import Ask, own_qoe, placement_costs
from router.fleet import Fleet
from router.fleet_state import FleetState
from router.ledger import Ledger
from telemetry.report import EngineReport

READER = Expectation(1.0, 4.8)
# A table like the real ones: nothing for a little, and then ever more.
MARGINAL_LOSS = tuple(
    float((x / 8000) ** 2 + s * s + x * s / 20_000)
    for x in DEMAND_AXIS_TOKENS
    for s in STALL_AXIS_S
)
BUSY = {
    "kv_blocks_total": 1000,
    "kv_blocks_used": 900,
    "kv_blocks_preemptible": (400, 300, 200, 100),
    "demand_tokens": 16_000,
    "running": 30,
    "tokens_total": 10_000,
    "step_base_s": 0.02,
    "step_per_stream_s": 1e-3,
    "prefill_s_per_token": 1e-4,
    "mean_output_tokens": 200.0,
    "marginal_loss": MARGINAL_LOSS,
}


def ask(prompt_tokens: float = 500, output_tokens: int = 200, cached: Any = 0.0) -> Ask:
    demand = prompt_tokens + output_tokens / 2
    return Ask(prompt_tokens, output_tokens, demand, cached, READER)


def fleet_of(
    *reports: EngineReport, unseen: dict[int, tuple[int, int]] | None = None
) -> Any:
    ledger = Ledger(now_s=lambda: 0.0)
    fleet = Fleet(now_s=lambda: 0.0, ledger=ledger, outstanding=None)
    for number, report in enumerate(reports):
        fleet.on_report(number, report)
    for number, (demand, prefill) in (unseen or {}).items():
        ledger.reserve(number, f"r{number}", demand, prefill_tokens=prefill)
    return fleet.sync([(number, None) for number in range(len(reports))])


def totals(fleet: FleetState, asked: Ask) -> Any:
    costs = placement_costs(fleet, asked)
    assert (costs.own >= 0).all()
    assert (costs.marginal_loss >= 0).all()
    assert (np.asarray(costs.later) >= 0).all()
    return costs.total


def test_the_score_is_that_of_the_forecast_of_the_scheduler() -> None:
    """Up to a token's area, which the forecast of a slow engine knows of."""
    start_s, token_s = (
        np.array([0.4, 1.0, 3.0, 9.0, 500.0]),
        np.array([0.1, 0.2, 0.05, 0.2, 1]),
    )
    end_s = READER.ttft_s + 200 / READER.tds
    forecast = Forecast(
        now_s=0.0,
        end_s=end_s,
        tds=np.full(5, READER.tds),
        buffered_until_s=np.zeros(5),
        buffered_area=np.zeros(5),
        expected_area=np.full(5, 200**2 / READER.tds / 2),
    )
    by_scheduler = [
        forecast.served(start_s, 1 / token)[i] for i, token in enumerate(token_s)
    ]
    assert own_qoe(start_s, token_s, ask()) == pytest.approx(by_scheduler, abs=0.01)


@given(
    start_s=st.floats(0, 1e6),
    token_s=st.floats(1e-6, 1e4),
    output_tokens=st.integers(1, 100_000),
)
def test_a_score_is_between_none_and_one(
    start_s: float, token_s: float, output_tokens: int
) -> None:
    (qoe,) = own_qoe(np.array([start_s]), np.array([token_s]), ask(0, output_tokens))
    assert 0 <= qoe <= 1


@pytest.mark.parametrize(
    ("field", "most"),
    [
        ("prefill_backlog_tokens", 100_000),
        ("resume_debt_tokens", 100_000),
        ("demand_tokens", 100_000),
        ("waiting", 500),
    ],
)
@given(data=st.data())
def test_a_cost_never_falls_with_more_of(
    make_report: Any, field: str, most: int, data: Any
) -> None:
    less, more = sorted(data.draw(st.tuples(*[st.integers(0, most)] * 2)))
    reports = [make_report(**(BUSY | {field: value})) for value in (less, more)]
    unseen = data.draw(st.none() | st.just({0: (3000, 900), 1: (3000, 900)}))
    first, second = totals(fleet_of(*reports, unseen=unseen), ask())
    assert second >= first - 1e-9


@given(
    prompts=st.tuples(*[st.floats(0, 40_000)] * 2),
    sent=st.none() | st.tuples(st.integers(0, 90_000), st.integers(0, 90_000)),
)
def test_a_cost_never_falls_with_a_longer_prompt(
    make_report: Any, prompts: Any, sent: Any
) -> None:
    report = make_report(**BUSY)
    fleet = fleet_of(report, unseen=sent and {0: sent})
    (short,), (long,) = (totals(fleet, ask(tokens)) for tokens in sorted(prompts))
    assert long >= short - 1e-9


@given(sent=st.tuples(*[st.tuples(st.integers(0, 60_000), st.integers(0, 60_000))] * 2))
def test_a_cost_never_falls_with_what_is_on_its_way(make_report: Any, sent: Any) -> None:
    """Also beyond the edges of the table of marginal losses."""
    demands, prefills = zip(*sent, strict=True)
    report = make_report(**BUSY)
    fleet = fleet_of(
        report,
        report,
        unseen={0: (min(demands), min(prefills)), 1: (max(demands), max(prefills))},
    )
    less, more = totals(fleet, ask())
    assert more >= less - 1e-9


def test_a_saved_prefill_lowers_the_cost(make_report: Any) -> None:
    fleet = fleet_of(*[make_report(**BUSY)] * 2)
    first, second = totals(fleet, ask(8000, cached=np.array([6000.0, 0.0])))
    assert first < second


def test_memory_that_readers_could_lend_is_as_good_as_free(make_report: Any) -> None:
    full = BUSY | {"demand_tokens": 30_000, "marginal_loss": ()}
    lending = make_report(**(full | {"kv_blocks_preemptible": (900, 900, 900, 900)}))
    holding = make_report(**(full | {"kv_blocks_preemptible": (0, 0, 0, 0)}))
    first, second = totals(fleet_of(lending, holding), ask())
    assert first < second


def test_a_replica_without_a_marginal_loss_table_is_no_better_than_its_peers(
    make_report: Any,
) -> None:
    told = make_report(**BUSY)
    silent = make_report(**(BUSY | {"marginal_loss": ()}))
    first, second = placement_costs(fleet_of(told, silent), ask(4000)).marginal_loss
    assert first == second > 0


def test_the_weight_of_a_reader_is_that_of_its_own_loss_alone(make_report: Any) -> None:
    fleet = fleet_of(make_report(**BUSY))
    one = placement_costs(fleet, ask(9000))
    heavy = Expectation(READER.ttft_s, READER.tds, 10.0)
    ten = placement_costs(fleet, Ask(9000, 200, 9100, 0.0, heavy))
    assert ten.own == pytest.approx(10 * one.own)
    assert ten.marginal_loss == pytest.approx(one.marginal_loss)
