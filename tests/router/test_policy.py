import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ledger import Unseen
from router.policy import ReplicaLoad, rank
from telemetry.report import EngineReport

MAX_AGE_S = 10.0
SEEN_ALL = Unseen(0, 0)


def order(loads: list[ReplicaLoad], stream_tokens: int = 0, seed: int = 0) -> Any:
    return rank(loads, stream_tokens, max_report_age_s=MAX_AGE_S, rng=random.Random(seed))


def load(
    report: EngineReport | None, unseen: Unseen = SEEN_ALL, age_s: float = 0.0
) -> ReplicaLoad:
    return ReplicaLoad(report, age_s, unseen)


def test_the_least_demand_per_capacity_comes_first(make_report: Any) -> None:
    half = load(make_report(kv_blocks_total=2000, demand_tokens=16_000, running=9))
    third = load(make_report(kv_blocks_total=3000, demand_tokens=16_000, running=9))
    full = load(make_report(kv_blocks_total=500, demand_tokens=16_000, running=9))
    assert order([half, full, third]) == [2, 0, 1]


def test_what_was_sent_and_not_yet_reported_counts(make_report: Any) -> None:
    sent = load(make_report(demand_tokens=100, running=1), Unseen(900, 3))
    reported = load(make_report(demand_tokens=800, running=4))
    assert order([sent, reported]) == [1, 0]


def test_a_long_stream_goes_where_there_is_room_for_it(make_report: Any) -> None:
    small_and_empty = load(make_report(kv_blocks_total=100))
    large_and_used = load(make_report(kv_blocks_total=1000, demand_tokens=1600, running=1))
    assert order([small_and_empty, large_and_used], stream_tokens=16) == [0, 1]
    assert order([small_and_empty, large_and_used], stream_tokens=1600) == [1, 0]


def test_equal_scores_are_decided_by_streams_outstanding(make_report: Any) -> None:
    """16 tokens are one score step; what is below that decides nothing."""
    many = load(make_report(demand_tokens=1600, running=3, waiting=2))
    few = load(make_report(demand_tokens=1603, running=2, waiting=1), Unseen(0, 1))
    assert order([many, few]) == [1, 0]


def test_equals_are_decided_by_chance_and_the_seed_repeats_it(make_report: Any) -> None:
    equals = [load(make_report())] * 3
    firsts = [order(equals, seed=seed)[0] for seed in range(300)]
    assert all(60 < firsts.count(i) < 140 for i in range(3))
    assert order(equals, seed=5) == order(equals, seed=5)


@pytest.mark.parametrize("spoilt", ["missing", "old", "no memory"])
def test_one_replica_without_a_usable_report_means_no_scores_at_all(
    make_report: Any, spoilt: str
) -> None:
    """Replicas judged by different metrics attract all streams or none."""
    bad = {
        "missing": load(None),
        "old": load(make_report(running=1), age_s=MAX_AGE_S + 0.1),
        "no memory": load(make_report(kv_blocks_total=0)),
    }[spoilt]
    assert order([load(make_report()), bad]) is None


def test_an_idle_report_is_never_old(make_report: Any) -> None:
    """An idle engine takes no steps, so it has nothing new to say."""
    assert order([load(make_report(), age_s=1e6)]) == [0]
    assert order([load(make_report(waiting=1), age_s=MAX_AGE_S)]) == [0]
    assert order([load(make_report(waiting=1), age_s=MAX_AGE_S + 0.1)]) is None


@given(
    demands=st.lists(st.integers(0, 50_000), min_size=1, max_size=12),
    unseen=st.integers(0, 5_000),
    stream_tokens=st.integers(0, 50_000),
)
def test_a_rank_is_a_permutation_in_the_order_of_the_scores(
    demands: list[int], unseen: int, stream_tokens: int
) -> None:
    fields = dict.fromkeys(EngineReport.__struct_fields__, 1)
    fields |= {"kv_blocks_total": 1000, "block_size_tokens": 16}
    loads = [
        load(EngineReport(**(fields | {"demand_tokens": d})), Unseen(unseen, 1))
        for d in demands
    ]
    ranked = order(loads, stream_tokens)
    assert sorted(ranked) == list(range(len(demands)))
    in_order = [demands[i] for i in ranked]
    assert all(a <= b + 16 for a, b in itertools.pairwise(in_order))
