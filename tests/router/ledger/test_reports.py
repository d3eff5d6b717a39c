"""What an engine says it has accepted releases reservations."""

from router.ledger import Ledger, Unseen

TTL_S = 10.0
REPLICAS = ("a", "b", "c")


def test_accepted_streams_release_the_oldest_reservations(ledger: Ledger) -> None:
    ledger.observe("a", "e", 100)
    for request, tokens in (("r0", 10), ("r1", 20), ("r2", 40)):
        ledger.reserve("a", request, tokens)
    ledger.reserve("b", "r3", 80)
    ledger.observe("a", "e", 102)
    assert ledger.unseen("a") == Unseen(40, 1)
    assert ledger.unseen("b") == Unseen(80, 1)


def test_named_streams_are_released_by_name(ledger: Ledger) -> None:
    """Other routers send streams too, and those are among the accepted."""
    ledger.observe("a", "e", 100)
    for key, tokens in ((1, 10), (2, 20), (3, 40)):
        ledger.reserve("a", f"r{key}", tokens, prefill_tokens=key, request_key=key)
    ledger.observe("a", "e", 103, (7, 2, 9))
    assert ledger.unseen("a") == Unseen(50, 2)
    assert ledger.unseen_prefill_tokens("a") == 4
    ledger.observe("a", "e", 105, (2, 9, 8, 1, 3))
    assert ledger.unseen("a") == Unseen(0, 0)


def test_names_that_are_not_ours_leave_it_to_the_count(ledger: Ledger) -> None:
    ledger.observe("a", "e", 100)
    ledger.reserve("a", "r0", 10, request_key=1)
    ledger.observe("a", "e", 101, (99,))
    assert ledger.unseen("a") == Unseen(0, 0)


def test_more_than_there_are_names_for_are_released_by_count(ledger: Ledger) -> None:
    ledger.observe("a", "e", 100)
    for key in range(6):
        ledger.reserve("a", f"r{key}", 1, request_key=key)
    ledger.observe("a", "e", 105, (3, 4))
    assert ledger.unseen("a").streams == 1


def test_a_repeated_or_older_report_releases_nothing(ledger: Ledger) -> None:
    ledger.observe("a", "e", 100)
    ledger.reserve("a", "r0", 10)
    ledger.observe("a", "e", 100)
    ledger.observe("a", "e", 99)
    ledger.observe("a", "e", 100)
    assert ledger.unseen("a") == Unseen(10, 1)


def test_the_first_report_answers_for_what_was_sent_before_it(ledger: Ledger) -> None:
    ledger.reserve("a", "r0", 10)
    ledger.reserve("a", "r1", 20)
    ledger.observe("a", "e", 1)
    assert ledger.unseen("a") == Unseen(20, 1)


def test_an_engine_that_started_again_owes_nothing(ledger: Ledger) -> None:
    ledger.observe("a", "e", 5)
    ledger.reserve("a", "r0", 10)
    ledger.observe("a", "f", 0)
    assert ledger.unseen("a") == Unseen(0, 0)
    ledger.reserve("a", "r1", 20)
    ledger.observe("a", "f", 1)
    assert ledger.unseen("a") == Unseen(0, 0)
