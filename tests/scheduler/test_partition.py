"""A plan's indices, applied to the lists of an engine."""

import numpy as np
import pytest

from scheduler.partition import partition
from scheduler.snapshot import NOBODY, Plan


def plan(*, admit=(), preempt=(), keep=(), token_budget=None) -> Plan:
    indices = (np.array(given, dtype=np.int64) for given in (admit, preempt, keep))
    return Plan(*indices, token_budget=token_budget)


def test_everybody_is_where_the_plan_wants_them() -> None:
    parts = partition(plan(admit=[2, 0], preempt=[1], keep=[3, 0, 2]), "abcd", "wxyz")
    assert (parts.offered, parts.withheld) == (["y", "w"], ["x", "z"])
    assert (parts.victims, parts.kept) == (["b"], ["d", "a", "c"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"keep": [0, 1], "admit": []}, True),
        ({"keep": [1], "preempt": [0]}, True),
        ({"preempt": [0, 1]}, False),
        ({"preempt": [0, 1], "admit": [0]}, True),
    ],
    ids=str,
)
def test_work_is_left_while_one_is_served_or_admitted(given, expected) -> None:
    assert partition(plan(**given), "ab", "w").leaves_work is expected


@pytest.mark.parametrize("keep", [[0], [0, 1, 1], [0, 0]])
def test_a_plan_that_does_not_count_up_is_refused(keep) -> None:
    with pytest.raises(ValueError, match="must keep or preempt every running stream"):
        partition(plan(keep=keep), "ab", "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"admit": [0, 0]}, "must admit a waiting stream once at most"),
        ({"admit": [2]}, "names stream 2 of 2"),
        ({"admit": [-1]}, "negative"),
        ({"keep": [0, 1, 2]}, "names stream 2 of 2"),
        ({"token_budget": 0}, "token_budget=0 of a plan must be at least 1"),
        ({"token_budget": -3}, "token_budget=-3 of a plan must be at least 1"),
    ],
    ids=str,
)
def test_a_plan_that_would_stop_an_engine_is_refused(given, said) -> None:
    with pytest.raises(ValueError, match=said):
        partition(plan(**{"keep": [0, 1], **given}), "ab", "wx")


def test_a_token_budget_is_a_plain_number() -> None:
    parts = partition(plan(token_budget=np.int64(7)), "", "")
    assert type(parts.token_budget) is int


def test_an_empty_engine_has_an_empty_plan() -> None:
    parts = partition(Plan(NOBODY, NOBODY, NOBODY), [], [])
    assert not parts.leaves_work
    assert parts.withheld == parts.kept == []
