"""Requests that are sent again, elsewhere, or not at all."""

from router.ledger import Ledger, Unseen

TTL_S = 10.0
REPLICAS = ("a", "b", "c")


def test_a_moved_reservation_is_released_where_it_is(ledger: Ledger) -> None:
    ledger.reserve("a", "r0", 10, request_key=1)
    ledger.move("r0", "b")
    ledger.observe("a", "e", 0, (1,))
    assert ledger.unseen("b") == Unseen(10, 1)
    ledger.observe("b", "e", 0, (1,))
    assert len(ledger) == 0


def test_a_retry_moves_the_reservation_and_outlives_the_late_completed(
    ledger: Ledger,
) -> None:
    """Serve reports the rejected attempt after the retry chose, under the same id."""
    ledger.reserve("a", "r0", 10, attempt=1)
    ledger.reserve("b", "r0", 10, attempt=2)
    assert (ledger.unseen("a"), ledger.unseen("b")) == (Unseen(0, 0), Unseen(10, 1))
    ledger.completed("a", "r0")
    assert ledger.unseen("b") == Unseen(10, 1)
    ledger.completed("b", "r0")
    assert len(ledger) == 0


def test_a_retry_on_the_same_replica_outlives_the_late_completed(ledger: Ledger) -> None:
    for attempt in (1, 2, 3):
        ledger.reserve("a", "r0", 10, attempt)
    for _ in (1, 2):
        ledger.completed("a", "r0")
        assert ledger.unseen("a") == Unseen(10, 1)
    ledger.completed("a", "r0")
    assert len(ledger) == 0


def test_choosing_again_before_sending_expects_no_late_completed(ledger: Ledger) -> None:
    """With all replicas full an attempt chooses many times and is sent once."""
    for _ in range(5):
        ledger.reserve("a", "r0", 10, attempt=1)
    assert ledger.unseen("a") == Unseen(10, 1)
    ledger.completed("a", "r0")
    assert len(ledger) == 0


def test_a_reservation_follows_the_stream_to_the_replica_really_used(
    ledger: Ledger,
) -> None:
    ledger.reserve("a", "r0", 10, attempt=1)
    ledger.move("r0", "b", attempt=1)
    assert (ledger.unseen("a"), ledger.unseen("b")) == (Unseen(0, 0), Unseen(10, 1))
    ledger.completed("a", "r0")
    assert ledger.unseen("b") == Unseen(10, 1)
    ledger.completed("b", "r0")
    assert len(ledger) == 0


def test_news_of_an_earlier_attempt_leave_the_present_one_alone(ledger: Ledger) -> None:
    ledger.reserve("a", "r0", 10, attempt=2)
    ledger.move("r0", "b", attempt=1)
    ledger.cancel("r0", attempt=1)
    assert ledger.unseen("a") == Unseen(10, 1)
    ledger.cancel("r0", attempt=2)
    assert len(ledger) == 0
