"""What a soak will do is known before it begins."""

from __future__ import annotations

import pytest

from bench.soak.bad import bad_requests
from bench.soak.plan import (
    FAULTS,
    LONGEST_S,
    MAX_LONG_TOKENS,
    SHARES,
    WAYS,
    fault_order,
    traffic,
)


@pytest.mark.parametrize("duration_s", [100.0, 1800.0])
def test_the_seed_decides_and_every_kind_and_way_is_there(duration_s: float) -> None:
    asks = traffic(3, duration_s, 1.5)
    assert asks == traffic(3, duration_s, 1.5) != traffic(4, duration_s, 1.5)
    assert {ask.kind for ask in asks} == {*SHARES, "long"}
    assert {ask.way for ask in asks} == {*WAYS, ""}
    assert [ask.at_s for ask in asks] == sorted(ask.at_s for ask in asks)
    assert all(0 <= ask.at_s <= duration_s and ask.tokens > 0 for ask in asks)


def test_long_streams_are_as_long_as_there_is_time_for() -> None:
    longest = max(ask.tokens for ask in traffic(0, 1800.0, 1.5))
    assert 0.9 * MAX_LONG_TOKENS < longest <= MAX_LONG_TOKENS
    assert max(ask.tokens for ask in traffic(0, 100.0, 1.5)) < 0.2 * longest
    assert LONGEST_S == 600.0


def test_every_fault_has_its_turn_where_there_is_something_to_break() -> None:
    order, _ = fault_order(0, "direct")
    assert sorted(order) == sorted(FAULTS)
    assert not any(
        "proxy" in name or "router" in name for name in fault_order(0, "handle")[0]
    )


def test_bad_requests_are_all_different() -> None:
    bodies = bad_requests("tiny")
    assert len(set(bodies.values())) == len(bodies) > 15
