"""Who shares an engine, and what each has used of it."""

from __future__ import annotations

import numpy as np
import pytest

from qoe.tenant import NOBODY, Tenant
from scheduler.snapshot import StepTime
from scheduler.tenants import MAX_CREDIT_S, Prices, Tenants

# A second for each token of an answer, whatever it holds.
A_SECOND_A_TOKEN = Prices(StepTime(0.0, 1.0, 0.5), 1000.0, 10)


def tenants(**joined: float) -> Tenants:
    table = Tenants()
    table.prices = A_SECOND_A_TOKEN
    for name, share in joined.items():
        table.join(Tenant(name, share))
    return table


def test_one_tenant_has_nobody_to_share_with() -> None:
    table = tenants(a=1.0)
    assert table.shares(np.array([0])) is None
    assert table.join() == 1
    assert table.shares(np.array([0, 1])) is not None


def test_those_who_name_nobody_are_one_tenant() -> None:
    table = Tenants()
    assert table.join() == table.join(NOBODY)


def test_what_ends_is_paid_for_by_its_share() -> None:
    table = tenants(a=1.0, b=4.0)
    table.join(Tenant("a", 1.0))
    table.join(Tenant("b", 4.0))
    table.leave(0, prompt_tokens=10, output_tokens=7)
    table.leave(1, prompt_tokens=10, output_tokens=7)
    shares = table.shares(np.array([0, 1]))
    assert shares is not None
    assert shares.used_s.tolist() == [12.0, 3.0]
    assert shares.share.tolist() == [1.0, 4.0]


def test_who_was_away_saved_nothing_up() -> None:
    table = tenants(a=1.0)
    table.join(Tenant("a"))
    table.leave(0, 0, 100)
    late = table.join(Tenant("late", 2.0))
    shares = table.shares(np.array([0, late]))
    assert shares is not None
    assert shares.used_s[late] == shares.used_s[0] == 100.0


def test_what_was_used_while_nobody_else_wanted_it_is_no_debt_for_long() -> None:
    table = tenants(alone=1.0, quiet=2.0)
    for _ in range(3):
        table.join(Tenant("alone"))
        table.leave(0, 0, 1000)
    shares = table.shares(np.array([0, 1]))
    assert shares is not None
    assert shares.used_s.tolist() == [3000.0, 3000.0 - MAX_CREDIT_S]
    # What is lifted stays so.
    table.join(Tenant("quiet", 2.0))
    table.leave(1, 0, 20)
    shares = table.shares(np.array([0, 1]))
    assert shares is not None
    assert shares.used_s[1] == 3000.0 - MAX_CREDIT_S + 10.0


def test_a_row_goes_to_the_next_tenant_with_the_last_stream() -> None:
    table = tenants(a=1.0, b=1.0)
    table.leave(0, 0, 5)
    assert len(table) == 1
    assert table.join(Tenant("c")) == 0
    shares = table.shares(np.array([0, 1]))
    assert shares is not None
    assert shares.used_s.tolist() == [0.0, 0.0]


def test_strangers_that_come_and_go_leave_nothing_behind() -> None:
    table = tenants(regular=1.0)
    for number in range(10_000):
        table.leave(table.join(Tenant(f"stranger-{number}")), 10, 10)
    assert len(table) == 1
    shares = table.shares(np.array([0, table.join(Tenant("last"))]))
    assert shares is not None
    assert shares.used_s.size == shares.share.size == 2


@pytest.mark.parametrize("held", [10.0, 500.0])
def test_an_answer_pays_for_the_memory_it_holds(held: float) -> None:
    prices = Prices(StepTime(1.0, 0.0, 0.0), 1000.0, 10)
    assert prices.answer_s(0.0, held) == held * max(held / 1000.0, 0.1)
