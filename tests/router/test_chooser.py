import logging
import statistics
import time
from collections import Counter
from typing import Any

import pytest

from router.chooser import Chooser, Stream
from router.ledger import Unseen
from router.settings import RouterSettings
from telemetry.routing_stats import to_routing_stats

BODY = {"prompt": "x" * 400, "max_tokens": 120}
BODY_TOKENS = 160


@pytest.fixture
def chooser(clock: Any) -> Any:
    """A chooser; its ledger drains by itself."""
    chooser = Chooser(RouterSettings(seed=1), now_s=clock)
    yield chooser
    clock.advance(10)
    assert len(chooser.ledger) == 0


def stream(number: int, body: object = BODY) -> Stream:
    return Stream(f"r{number}", number, body)


def test_a_choice_is_reserved_before_the_next_one_begins(
    chooser: Chooser, make_report: Any
) -> None:
    idle = to_routing_stats(make_report())
    firsts = [chooser.choose([("a", idle), ("b", idle)], stream(i))[0][0] for i in range(4)]
    assert Counter(firsts) == {0: 2, 1: 2}
    assert chooser.ledger.unseen("a") == Unseen(2 * BODY_TOKENS, 2)


def test_what_was_taken_in_before_a_choice_makes_no_difference_to_it(
    make_report: Any,
) -> None:
    choosers = [Chooser(RouterSettings(seed=1), now_s=lambda: 0.0) for _ in range(2)]
    for seq in range(1, 20):
        demand = [(7 * seq) % 11 * 1000, (5 * seq) % 13 * 1000]
        for chooser in choosers:
            for name, tokens in zip("ab", demand, strict=True):
                report = make_report(seq=seq, demand_tokens=tokens, running=1)
                chooser.on_report(name, report)
        choosers[0].settle()
        first, second = (
            c.choose([("a", None), ("b", None)], stream(seq)) for c in choosers
        )
        assert first == second


def test_ranks_are_singletons_in_strict_order(chooser: Chooser, make_report: Any) -> None:
    candidates = [
        (name, to_routing_stats(make_report(demand_tokens=demand, running=1)))
        for name, demand in (("a", 3200), ("b", 0), ("c", 1600))
    ]
    assert chooser.choose(candidates, stream(0)) == [[1], [2], [0]]


def test_streams_released_by_a_report_are_counted_once(
    chooser: Chooser, make_report: Any
) -> None:
    """In direct streaming nothing but the report says that a stream has arrived."""
    before = to_routing_stats(make_report(accepted_total=10))
    chooser.choose([("a", before)], stream(0))
    assert chooser.ledger.unseen("a").streams == 1
    after = make_report(seq=2, accepted_total=11, running=1, demand_tokens=100)
    chooser.choose([("a", to_routing_stats(after))], None)
    assert chooser.ledger.unseen("a") == Unseen(0, 0)


def test_the_mean_output_of_the_replicas_sizes_a_stream(
    chooser: Chooser, make_report: Any
) -> None:
    candidates = [
        (name, to_routing_stats(make_report(mean_output_tokens=mean)))
        for name, mean in (("a", 0.0), ("b", 100.0), ("c", 300.0))
    ]
    chooser.choose(candidates, stream(0, {"prompt": ""}))
    assert sum(chooser.ledger.unseen(r).demand_tokens for r in "abc") == 100


def test_without_a_request_nothing_is_reserved(chooser: Chooser, make_report: Any) -> None:
    assert chooser.choose([("a", to_routing_stats(make_report()))], None) == [[0]]
    assert len(chooser.ledger) == 0


@pytest.mark.parametrize("num_replicas", [1, 2, 3, 5])
def test_a_fallback_offers_every_replica_once_and_takes_turns(
    chooser: Chooser, num_replicas: int
) -> None:
    candidates = [(f"r{i}", {}) for i in range(num_replicas)]
    firsts: Counter[int] = Counter()
    for number in range(4 * num_replicas):
        ranks = chooser.choose(candidates, stream(number))
        assert sorted(i for rank in ranks for i in rank) == list(range(num_replicas))
        assert len(ranks[0]) == min(2, num_replicas)
        firsts[ranks[0][0]] += 1
    assert set(firsts.values()) == {4}
    assert (chooser.decisions, chooser.fallbacks) == (0, 4 * num_replicas)


def test_a_replica_that_never_reported_is_asked_one_stream_at_a_time(
    chooser: Chooser, clock: Any, make_report: Any
) -> None:
    """An engine may have nothing to say before its first stream."""
    candidates = [("a", to_routing_stats(make_report())), ("b", {})]
    firsts = [chooser.choose(candidates, stream(i))[0][0] for i in range(20)]
    assert firsts == [1, *[0] * 19]
    clock.advance(11)
    assert [chooser.choose(candidates, stream(i))[0][0] for i in (30, 31)] == [1, 0]


def test_stale_reports_mean_turns_until_one_changes(
    chooser: Chooser, clock: Any, make_report: Any
) -> None:
    def choose(seq: int) -> tuple[int, int]:
        busy = make_report(seq=seq, running=1, demand_tokens=99)
        chooser.on_report("a", busy)
        chooser.choose([("a", None)], None)
        return chooser.decisions, chooser.fallbacks

    assert choose(seq=1) == (1, 0)
    clock.advance(10)
    assert choose(seq=1) == (2, 0)
    clock.advance(0.1)
    assert choose(seq=1) == (2, 1)
    assert choose(seq=2) == (3, 1)


def test_the_state_is_logged_when_it_changes_and_not_per_request(
    clock: Any, make_report: Any, caplog: pytest.LogCaptureFixture
) -> None:
    chooser = Chooser(RouterSettings(), now_s=clock)
    silent = [("a", {}), ("b", {})]
    half = [("a", to_routing_stats(make_report())), ("b", {})]
    talking = [(name, to_routing_stats(make_report())) for name in "ab"]
    with caplog.at_level(logging.INFO, "router.chooser"):
        for candidates in (silent, half, talking, half):
            for _ in range(5):
                chooser.choose(candidates, None)
        for _ in range(5):
            chooser.fall_back(2, "scoring failed", ValueError("why"))
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "Replicas take turns: a has no report; b has no report.",
        "Streams go to the other replicas: b has no report.",
        "All replicas report: streams go by score.",
        "Streams go to the other replicas: b has no report.",
        "Replicas take turns: scoring failed.",
    ]
    assert caplog.records[-1].exc_info is not None


def test_decisions_are_counted_by_how_they_were_made(
    chooser: Chooser, make_report: Any
) -> None:
    chooser.choose([("a", {})], None)
    chooser.fall_back(1, "", ValueError())
    chooser.choose([("a", to_routing_stats(make_report()))], None)
    assert chooser.counts == {"no report": 1, "error": 1, "scored": 1}
    assert (chooser.decisions, chooser.fallbacks) == (1, 2)


def test_replicas_that_are_gone_are_forgotten(chooser: Chooser, make_report: Any) -> None:
    stats = to_routing_stats(make_report())
    chooser.choose([("a", stats)], stream(0))
    chooser.retain(set())
    assert len(chooser.ledger) == 0
    assert chooser.choose([("a", {})], None) == [[0]]
    assert chooser.counts["no report"] == 1


@pytest.mark.parametrize("num_replicas", [2, 64])
def test_the_cost_of_a_decision_is_logged(
    chooser: Chooser, make_report: Any, num_replicas: int, record_property: Any
) -> None:
    """Serve decides on the loop that routes: below 1 ms is the aim."""
    candidates = [
        (i, to_routing_stats(make_report(running=i, demand_tokens=100 * i)))
        for i in range(num_replicas)
    ]
    took_us = []
    for number in range(300):
        started_s = time.perf_counter()
        chooser.choose(candidates, stream(number))
        took_us.append((time.perf_counter() - started_s) * 1e6)
    median_us = statistics.median(took_us)
    record_property("decision_median_us", median_us)
    logging.getLogger(__name__).info("%d replicas: %.0f us", num_replicas, median_us)
