from typing import Any

from router.report_book import ReportBook
from telemetry.routing_stats import to_routing_stats


def test_age_counts_from_the_last_change_and_not_from_the_last_broadcast(
    clock: Any, make_report: Any
) -> None:
    book = ReportBook(clock)
    assert book.read("a", to_routing_stats(make_report(seq=1))) == (make_report(seq=1), 0.0)
    clock.advance(4)
    assert book.read("a", to_routing_stats(make_report(seq=1)))[1] == 4.0
    assert book.read("b", to_routing_stats(make_report(seq=1)))[1] == 0.0
    assert book.read("a", to_routing_stats(make_report(seq=2)))[1] == 0.0
    clock.advance(1)
    assert book.read("a", to_routing_stats(make_report(seq=2, epoch="other")))[1] == 0.0


def test_garbage_in_between_does_not_make_an_old_report_young(
    clock: Any, make_report: Any
) -> None:
    book = ReportBook(clock)
    book.read("a", to_routing_stats(make_report()))
    clock.advance(4)
    assert book.read("a", {"andes": "garbage"}) == (None, 0.0)
    assert book.read("a", to_routing_stats(make_report()))[1] == 4.0


def test_replicas_that_are_gone_are_forgotten(clock: Any, make_report: Any) -> None:
    book = ReportBook(clock)
    for replica in ("a", "b"):
        book.read(replica, to_routing_stats(make_report()))
    book.retain({"b"})
    assert set(book._changes) == {"b"}
