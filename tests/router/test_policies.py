"""What every policy does with the replicas it is given."""

from collections import Counter
from typing import Any, get_args

import pytest

from router.chooser import Chooser, Stream
from router.settings import PolicyName, RouterSettings

POLICIES = get_args(PolicyName)
BY_REPORTS = ("kv_ledger", "remaining_steps", "qoe")
all_policies = pytest.mark.parametrize("policy", POLICIES)


def stream(number: int, **fields: Any) -> Stream:
    body = {"prompt": "x" * 400, "stream": True, "max_tokens": 120}
    return Stream(f"r{number}", number, body, **fields)


def new(policy: str, clock: Any, **settings: Any) -> Chooser:
    return Chooser(
        RouterSettings.from_kwargs({"policy": policy, "seed": 1} | settings), now_s=clock
    )


def place(chooser: Chooser, names: str, count: int, start: int = 0, **fields: Any) -> Any:
    candidates = [(name, None) for name in names]
    return Counter(
        names[chooser.choose(candidates, stream(start + i, **fields))[0][0]]
        for i in range(count)
    )


@all_policies
def test_streams_that_arrive_together_spread(
    policy: str, clock: Any, make_report: Any
) -> None:
    chooser = new(policy, clock)
    for name in "abcd":
        chooser.on_report(name, make_report())
    placed = place(chooser, "abcd", 40)
    assert min(placed.values()) >= (4 if policy == "pow2" else 9)


@all_policies
def test_a_draining_replica_gets_nothing_unless_all_drain(
    policy: str, clock: Any, make_report: Any
) -> None:
    chooser = new(policy, clock)
    chooser.on_report("a", make_report(accepting=False))
    chooser.on_report("b", make_report(demand_tokens=9000, running=20))
    assert place(chooser, "ab", 20) == {"b": 20}
    chooser.on_report("b", make_report(seq=2, accepting=False))
    assert sum(place(chooser, "ab", 20, start=20).values()) == 20


def test_a_draining_replica_gets_nothing_by_turns_either(
    clock: Any, make_report: Any
) -> None:
    chooser = new("qoe", clock)
    chooser.on_report("a", make_report(accepting=False))
    assert place(chooser, "ab", 10) == {"b": 10}
    assert chooser.fallbacks == 10


@pytest.mark.parametrize("policy", BY_REPORTS)
def test_without_any_report_replicas_take_turns(
    policy: str, clock: Any, make_report: Any
) -> None:
    chooser = new(policy, clock)
    assert place(chooser, "ab", 10) == {"a": 5, "b": 5}
    chooser.on_report("b", make_report())
    place(chooser, "ab", 1, start=10)
    assert (chooser.decisions, chooser.fallbacks) == (1, 10)


@pytest.mark.parametrize("policy", ["round_robin", "pow2", "least_outstanding"])
def test_what_a_router_counts_itself_needs_no_report(policy: str, clock: Any) -> None:
    chooser = new(policy, clock)
    placed = place(chooser, "abc", 30)
    assert min(placed.values()) >= 5
    assert (chooser.decisions, chooser.fallbacks) == (30, 0)


@pytest.mark.parametrize("policy", ["pow2", "least_outstanding"])
def test_a_completed_stream_makes_room(policy: str, clock: Any) -> None:
    chooser = new(policy, clock)
    for number in range(10):
        chooser.choose([("a", None)], stream(number))
    for number in range(10, 15):
        chooser.choose([("b", None)], stream(number))
    for number in range(10):
        chooser.completed("a", f"r{number}")
    assert place(chooser, "ab", 5, start=20) == {"a": 5}


@pytest.mark.parametrize("policy", ["pow2", "least_outstanding"])
def test_where_no_end_is_ever_told_the_engines_counts_are_taken(
    policy: str, clock: Any, make_report: Any
) -> None:
    """Direct streaming calls nobody back."""
    chooser = new(policy, clock)
    chooser.on_report("a", make_report(finished_total=50, running=2))
    chooser.on_report("b", make_report(finished_total=50, running=30))
    assert place(chooser, "ab", 10) == {"a": 10}


@pytest.mark.parametrize("policy", BY_REPORTS)
def test_the_fuller_replica_gets_less(policy: str, clock: Any, make_report: Any) -> None:
    chooser = new(policy, clock)
    chooser.on_report(
        "a", make_report(demand_tokens=15_000, kv_blocks_used=940, running=40)
    )
    chooser.on_report("b", make_report(demand_tokens=1_000, kv_blocks_used=70, running=4))
    assert place(chooser, "ab", 10) == {"b": 10}


def test_of_equal_costs_the_faster_engine_gets_more(clock: Any, make_report: Any) -> None:
    chooser = new("qoe", clock)
    learned = {"tokens_total": 9999, "step_base_s": 0.01}
    chooser.on_report("fast", make_report(**learned, prefill_s_per_token=1e-5))
    chooser.on_report("slow", make_report(**learned, prefill_s_per_token=3e-5))
    names = ("fast", "slow")
    candidates = [(name, None) for name in names]
    placed = Counter(names[chooser.choose(candidates, stream(i))[0][0]] for i in range(40))
    # Three times as fast, and with as much memory: more, and not three times as much.
    assert 1.3 * placed["slow"] < placed["fast"] < 3 * placed["slow"]


@pytest.mark.parametrize("policy", BY_REPORTS)
def test_of_busy_replicas_the_one_that_goes_on_reporting_is_taken(
    policy: str, clock: Any, make_report: Any
) -> None:
    chooser = new(policy, clock)
    chooser.on_report("a", make_report(running=1))
    chooser.on_report("b", make_report(running=1))
    seen = []
    for second in range(10):
        chooser.on_report("b", make_report(running=1, seq=2 + second))
        seen.append(chooser.choose([("a", None), ("b", None)], None)[0][0])
        clock.advance(1)
    assert set(seen[3:]) == {1}


def test_a_replica_that_starts_again_gets_its_share_little_by_little(
    clock: Any, make_report: Any
) -> None:
    chooser = new("kv_ledger", clock)
    for name in "ab":
        chooser.on_report(name, make_report(accepted_total=99, finished_total=99))
    clock.advance(20)
    chooser.on_report("b", make_report(epoch="next"))
    first = place(chooser, "ab", 50)
    clock.advance(11)
    later = place(chooser, "ab", 50, start=50)
    assert first["b"] < 0.3 * first["a"]
    assert later["b"] >= 24


def test_a_session_stays_where_it_was_as_long_as_that_costs_little(
    clock: Any, make_report: Any
) -> None:
    chooser = new("qoe", clock)
    for name in "abcd":
        chooser.on_report(name, make_report())
    (home,) = place(chooser, "abcd", 1, session_id="s")
    assert place(chooser, "abcd", 5, start=1, session_id="s") == {home: 5}
    overloaded = {"demand_tokens": 90_000, "waiting": 90, "prefill_backlog_tokens": 90_000}
    chooser.on_report(home, make_report(seq=2, **overloaded))
    assert home not in place(chooser, "abcd", 5, start=6, session_id="s")


def test_a_prompt_goes_where_it_was_computed_until_that_is_busy(
    clock: Any, make_report: Any
) -> None:
    chooser = new("qoe", clock)
    slow = {"prefill_s_per_token": 1e-3, "tokens_total": 999, "step_base_s": 0.01}
    for name in "abcd":
        chooser.on_report(name, make_report(**slow))
    body = {"prompt": "once upon a time " * 500, "stream": True, "max_tokens": 100}
    candidates = [(name, None) for name in "abcd"]
    first = chooser.choose(candidates, Stream("p0", 0, body))[0][0]
    chooser.completed("abcd"[first], "p0")
    assert chooser.choose(candidates, Stream("p1", 1, body))[0][0] == first
    busy = make_report(seq=2, **slow, waiting=9, prefill_backlog_tokens=20_000)
    chooser.on_report("abcd"[first], busy)
    assert chooser.choose(candidates, Stream("p2", 2, body))[0][0] != first


def test_of_many_routers_each_takes_the_better_of_two_it_draws(
    clock: Any, make_report: Any
) -> None:
    """All of them see the same best replica, and none what the others send there."""
    firsts: Counter[int] = Counter()
    for seed in range(60):
        chooser = new("qoe", clock, routers=60, seed=seed)
        for number in range(4):
            busy = make_report(running=9, waiting=1, prefill_backlog_tokens=10_000 * number)
            chooser.on_report(number, busy)
        ranks = chooser.choose([(n, None) for n in range(4)], stream(seed))
        assert sorted(i for (i,) in ranks) == [0, 1, 2, 3]
        firsts[ranks[0][0]] += 1
    assert firsts[0] > firsts[1] > firsts[2] > 0
    assert firsts[0] < 45
    assert firsts[3] == 0
