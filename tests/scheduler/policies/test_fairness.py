"""Shares of an engine between tenants, in the order of those who wait."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policies.fairness import FREE_ANSWERS, beyond_share
from scheduler.snapshot import TenantShares

NONE = np.zeros(0, dtype=np.int64)


def beyond(row, used_s, share=None, begun=NONE, waiting=None, answer_s=None):
    row = np.array(row)
    used = np.array(used_s, dtype=float)
    shares = TenantShares(
        row, used, np.ones(used.size) if share is None else np.array(share)
    )
    waiting = np.arange(row.size) if waiting is None else np.array(waiting)
    answer_s = np.ones(row.size) if answer_s is None else np.array(answer_s)
    return beyond_share(shares, np.array(begun, dtype=np.int64), waiting, answer_s)


def test_whoever_has_a_few_streams_is_within_its_share() -> None:
    assert not beyond([0, 0, 1, 2], [3.0, 0.0, 1.0]).any()


def test_a_tenant_far_ahead_waits_and_the_others_do_not() -> None:
    found = beyond([0, 1, 0], [100.0, 0.0])
    assert found[1] == 0
    assert (found[[0, 2]] > 0).all()


def test_a_starving_tenant_does_not_put_the_others_beyond_their_shares() -> None:
    others = np.arange(20)
    found = beyond(others, np.where(others == 0, 0.0, 50.0))
    assert not found.any()


def test_answers_that_are_being_written_count_before_they_are_paid_for() -> None:
    row = [0] * 40 + [1]
    assert not beyond(row, [0.0, 0.0], waiting=[39, 40]).any()
    found = beyond(row, [0.0, 0.0], begun=range(39), waiting=[39, 40])
    assert found.tolist() == [np.floor((39 - 39 / 2) / FREE_ANSWERS), 0]


def test_a_long_queue_of_one_tenant_is_beyond_its_share_from_some_stream_on() -> None:
    found = beyond([0] * 30 + [1], [0.0, 0.0])
    assert found[0] == found[30] == 0
    assert found[29] > 0
    assert (np.diff(found[:30]) >= 0).all()


@pytest.mark.parametrize("share", [2.0, 4.0])
def test_a_share_is_worth_so_many_times_as_much(share: float) -> None:
    plain = beyond([0] * 60 + [1], [0.0, 0.0])
    more = beyond([0] * 60 + [1], [0.0, 0.0], share=[share, 1.0])
    first = int(np.argmax(plain > 0)), int(np.argmax(more > 0))
    assert first[1] == pytest.approx(share * first[0], abs=share)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
    st.lists(st.floats(0, 100), min_size=5, max_size=5),
    st.randoms(),
)
def test_a_tenants_own_order_is_kept(row, used_s, random) -> None:
    waiting = list(range(len(row)))
    random.shuffle(waiting)
    found = beyond(row, used_s, waiting=waiting)
    assert (found >= 0).all()
    for tenant in set(row):
        own = found[np.array([row[i] == tenant for i in waiting])]
        assert (np.diff(own) >= 0).all()
