"""How long a reservation may last, and who is told when it ends."""

from typing import Any

from router.ledger import Ledger, Unseen

TTL_S = 10.0
REPLICAS = ("a", "b", "c")
REQUESTS = ("r0", "r1", "r2")


def test_who_changed_is_told_once(ledger: Ledger, clock: Any) -> None:
    ledger.reserve("a", "r0", 10)
    assert ledger.take_changed() == {"a"}
    assert ledger.take_changed() == set()
    clock.advance(TTL_S - 1)
    assert ledger.oldest_age_s() == TTL_S - 1
    clock.advance(1)
    assert ledger.take_changed() == {"a"}
    assert ledger.oldest_age_s() == 0


def test_a_reservation_that_nobody_answers_for_ends(ledger: Ledger, clock: Any) -> None:
    ledger.reserve("a", "r0", 10)
    clock.advance(TTL_S - 0.1)
    ledger.reserve("a", "r1", 20)
    assert ledger.unseen("a") == Unseen(30, 2)
    clock.advance(0.1)
    assert ledger.unseen("a") == Unseen(20, 1)


def test_a_gone_replica_takes_its_reservations_along(ledger: Ledger) -> None:
    for replica, request in zip(REPLICAS, REQUESTS, strict=True):
        ledger.observe(replica, "e", 0)
        ledger.reserve(replica, request, 10)
    ledger.drop("a")
    assert len(ledger) == 2
    ledger.retain({"c"})
    assert ledger.unseen("c") == Unseen(10, 1)
    assert len(ledger) == 1
    assert set(ledger._accounts) == {"c"}


def test_memory_is_that_of_the_requests_of_one_ttl(ledger: Ledger, clock: Any) -> None:
    for i in range(2000):
        ledger.reserve("a", f"s{i}", 1, attempt=1)
        ledger.reserve("b", f"s{i}", 1, attempt=2)
        clock.advance(0.1)
    assert len(ledger._reservations) <= TTL_S / 0.1 + 1
    assert len(ledger._superseded) <= TTL_S / 0.1 + 1
