from typing import Any

from router.report_book import MAX_KNOWN_EPOCHS, NEW_ROUTER_S, ReportBook
from telemetry.routing_stats import to_routing_stats


def test_age_counts_from_the_last_change_and_not_from_the_last_broadcast(
    clock: Any, make_report: Any
) -> None:
    book = ReportBook(clock)
    assert book.read("a", to_routing_stats(make_report(seq=1)))
    clock.advance(4)
    assert not book.read("a", to_routing_stats(make_report(seq=1)))
    assert book.age_s("a") == 4.0
    assert book.read("a", to_routing_stats(make_report(seq=2)))
    assert book.age_s("a") == 0.0
    clock.advance(1)
    assert book.read("a", to_routing_stats(make_report(seq=2, epoch="other")))
    assert book.age_s("a") == 0.0


def test_garbage_in_between_does_not_make_an_old_report_young(
    clock: Any, make_report: Any
) -> None:
    book = ReportBook(clock)
    book.read("a", to_routing_stats(make_report()))
    clock.advance(4)
    assert book.read("a", {"andes": "garbage"})
    assert book.last("a") is None
    assert book.read("a", to_routing_stats(make_report()))
    assert book.last("a") is not None
    assert book.age_s("a") == 4.0


def test_the_newest_report_counts_whichever_way_it_came(
    clock: Any, make_report: Any
) -> None:
    book = ReportBook(clock)
    assert book.on_report("a", make_report(seq=5))
    assert not book.read("a", to_routing_stats(make_report(seq=4)))
    assert book.read("a", to_routing_stats(make_report(seq=6)))
    assert not book.on_report("a", make_report(seq=6))
    known = book.last("a")
    assert known is not None
    assert known.report.seq == 6


def test_what_a_replica_says_itself_outlives_stats_without_a_report(
    clock: Any, make_report: Any
) -> None:
    book = ReportBook(clock)
    book.on_report("a", make_report())
    book.read("a", {})
    assert book.last("a") is not None


def test_an_epoch_that_is_over_never_comes_back(clock: Any, make_report: Any) -> None:
    book = ReportBook(clock)
    book.on_report("a", make_report(epoch="old", seq=90))
    assert book.on_report("a", make_report(epoch="new", seq=1))
    assert not book.read("a", to_routing_stats(make_report(epoch="old", seq=91)))
    for number in range(20):
        book.on_report("a", make_report(epoch=f"e{number}"))
    known = book.last("a")
    assert known is not None
    assert len(known.earlier_epochs) == MAX_KNOWN_EPOCHS


def test_only_an_engine_that_started_after_the_router_met_the_fleet_is_new(
    clock: Any, make_report: Any
) -> None:
    book = ReportBook(clock)

    def started_at_s(replica: str) -> float:
        known = book.last(replica)
        assert known is not None
        return known.started_at_s

    book.on_report("a", make_report())
    assert started_at_s("a") == float("-inf")
    clock.advance(NEW_ROUTER_S + 1)
    book.on_report("b", make_report())
    assert started_at_s("b") == clock()
    book.on_report("a", make_report(epoch="next"))
    assert started_at_s("a") == clock()


def test_replicas_that_are_gone_are_forgotten(clock: Any, make_report: Any) -> None:
    book = ReportBook(clock)
    for replica in ("a", "b"):
        book.read(replica, to_routing_stats(make_report()))
    book.read("c", {})
    book.retain({"b"})
    assert set(book._known) == {"b"}
    assert not book._silent
