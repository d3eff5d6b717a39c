from typing import Any

import pytest

from qoe import Expectation
from router.cost import Ask
from router.fleet import Fleet
from router.ledger import Ledger
from router.moves import best_move

BUSY = {
    "kv_blocks_used": 500,
    "demand_tokens": 8000,
    "running": 20,
    "tokens_total": 10_000,
    "step_base_s": 0.02,
    "prefill_s_per_token": 1e-4,
    "mean_output_tokens": 200.0,
}
# Its 16,000 tokens are held, and as many wait for them.
FULL = BUSY | {"kv_blocks_used": 1000, "demand_tokens": 32_000, "waiting": 20}
ASK = Ask(600.0, 200, 700.0, 0.0, Expectation(1.0, 4.8))


@pytest.fixture
def fleet_of(make_report: Any) -> Any:
    def make(*reports: dict[str, Any]) -> Any:
        ledger = Ledger(now_s=lambda: 0.0)
        fleet = Fleet(now_s=lambda: 0.0, ledger=ledger, outstanding=None, home=0)
        for number, report in enumerate(reports):
            fleet.hear(number, make_report(**report))
        return fleet.sync([(number, None) for number in range(len(reports))])

    return make


def test_a_stream_leaves_a_full_replica_for_one_with_room(fleet_of: Any) -> None:
    fleet = fleet_of(FULL, FULL, BUSY)
    assert best_move(fleet, ASK, 0, waited_s=1.0, min_gain=0.1) == 2


def test_a_stream_stays_where_it_can_be_served(fleet_of: Any) -> None:
    fleet = fleet_of(BUSY, BUSY | {"demand_tokens": 7000})
    assert best_move(fleet, ASK, 0, waited_s=0.5, min_gain=0.1) is None


def test_nobody_moves_where_all_are_full(fleet_of: Any) -> None:
    assert best_move(fleet_of(FULL, FULL), ASK, 0, waited_s=1.0, min_gain=0.1) is None


def test_nobody_moves_to_a_replica_that_drains(fleet_of: Any) -> None:
    fleet = fleet_of(FULL, BUSY | {"accepting": False}, FULL)
    assert best_move(fleet, ASK, 0, waited_s=1.0, min_gain=0.1) is None


def test_a_stream_leaves_a_replica_that_drains_as_any_other(fleet_of: Any) -> None:
    fleet = fleet_of(FULL | {"accepting": False}, BUSY)
    assert best_move(fleet, ASK, 0, waited_s=1.0, min_gain=0.1) == 1


def test_a_single_replica_keeps_what_it_has(fleet_of: Any) -> None:
    assert best_move(fleet_of(FULL), ASK, 0, waited_s=1.0, min_gain=0.1) is None


def test_a_stream_that_alone_makes_its_replica_busy_does_not_flee_from_itself(
    fleet_of: Any,
) -> None:
    alone = BUSY | {"demand_tokens": 15_900, "prefill_backlog_tokens": 600}
    fleet = fleet_of(alone, alone | {"demand_tokens": 15_300})
    large = Ask(600.0, 200, 700.0, 0.0, Expectation(1.0, 4.8))
    assert best_move(fleet, large, 0, waited_s=0.5, min_gain=0.05) is None
