from collections.abc import Callable, Iterator
from typing import Any

import pytest

from router.ledger import Ledger, Unseen

TTL_S = 10.0
REPLICAS = ("a", "b", "c")


def _assert_empty(ledger: Ledger) -> None:
    assert len(ledger) == 0
    assert all(ledger.unseen(r) == Unseen(0, 0) for r in REPLICAS)
    assert not ledger._reservations
    assert not ledger._superseded
    assert not any(account.reservations for account in ledger._accounts.values())


@pytest.fixture(scope="session")
def assert_empty() -> Callable[[Ledger], None]:
    """Fails if a ledger holds anything at all."""
    return _assert_empty


@pytest.fixture
def ledger(clock: Any) -> Iterator[Ledger]:
    """A ledger; once its time has passed it holds nothing at all."""
    ledger = Ledger(ttl_s=TTL_S, now_s=clock)
    yield ledger
    clock.advance(TTL_S)
    _assert_empty(ledger)
