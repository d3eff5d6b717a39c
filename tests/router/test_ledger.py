from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from router.ledger import Ledger, Unseen

TTL_S = 10.0
REPLICAS = ("a", "b", "c")
REQUESTS = tuple(f"r{i}" for i in range(6))


@pytest.fixture
def ledger(clock: Any) -> Any:
    """A ledger; once its time has passed it holds nothing at all."""
    ledger = Ledger(ttl_s=TTL_S, now_s=clock)
    yield ledger
    clock.advance(TTL_S)
    assert_empty(ledger)


def assert_empty(ledger: Ledger) -> None:
    assert len(ledger) == 0
    assert all(ledger.unseen(r) == Unseen(0, 0) for r in REPLICAS)
    assert not ledger._reservations
    assert not ledger._superseded
    assert not any(account.reservations for account in ledger._accounts.values())


def test_accepted_streams_release_the_oldest_reservations(ledger: Ledger) -> None:
    ledger.observe("a", "e", 100)
    for request, tokens in (("r0", 10), ("r1", 20), ("r2", 40)):
        ledger.reserve("a", request, tokens)
    ledger.reserve("b", "r3", 80)
    ledger.observe("a", "e", 102)
    assert ledger.unseen("a") == Unseen(40, 1)
    assert ledger.unseen("b") == Unseen(80, 1)


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


def test_a_reservation_that_nobody_answers_for_ends(ledger: Ledger, clock: Any) -> None:
    ledger.reserve("a", "r0", 10)
    clock.advance(TTL_S - 0.1)
    ledger.reserve("a", "r1", 20)
    assert ledger.unseen("a") == Unseen(30, 2)
    clock.advance(0.1)
    assert ledger.unseen("a") == Unseen(20, 1)


def test_a_gone_replica_takes_its_reservations_along(ledger: Ledger) -> None:
    for replica, request in zip(REPLICAS, REQUESTS, strict=False):
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


class LedgerAgainstPlainLists(RuleBasedStateMachine):
    """The same story told with lists that are searched and summed each time."""

    replicas = st.sampled_from(REPLICAS)
    requests = st.sampled_from(REQUESTS)

    @initialize()
    def begin(self) -> None:
        self.now_s = 0.0
        self.ledger = Ledger(ttl_s=TTL_S, now_s=lambda: self.now_s)
        self.attempts = dict.fromkeys(REQUESTS, 0)
        self.entries: list[dict[str, Any]] = []
        self.late: dict[tuple[str, str], list[float]] = {}
        self.seen: dict[str, tuple[str, int]] = {}

    def find(self, request: str) -> dict[str, Any] | None:
        return next((e for e in self.entries if e["request"] == request), None)

    @rule(replica=replicas, request=requests, tokens=st.integers(-5, 500))
    def reserve(self, replica: str, request: str, tokens: int) -> None:
        self.ledger.reserve(replica, request, tokens, self.attempts[request])
        entry = self.find(request)
        if entry is not None:
            self.entries.remove(entry)
            if entry["attempt"] != self.attempts[request]:
                self.late.setdefault((entry["replica"], request), []).append(self.now_s)
        self.entries.append(
            {
                "replica": replica,
                "request": request,
                "tokens": max(0, tokens),
                "at_s": self.now_s,
                "attempt": self.attempts[request],
            }
        )

    @rule(replica=replicas, request=requests, tokens=st.integers(0, 500))
    def retry(self, replica: str, request: str, tokens: int) -> None:
        self.attempts[request] += 1
        self.reserve(replica, request, tokens)

    @rule(replica=replicas, request=requests, behind=st.integers(0, 1))
    def move(self, replica: str, request: str, behind: int) -> None:
        attempt = self.attempts[request] - behind
        self.ledger.move(request, replica, attempt)
        entry = self.find(request)
        if entry and entry["attempt"] == attempt and entry["replica"] != replica:
            self.entries.remove(entry)
            self.entries.append(entry | {"replica": replica})

    @rule(request=requests, behind=st.integers(0, 1))
    def cancel(self, request: str, behind: int) -> None:
        attempt = self.attempts[request] - behind
        self.ledger.cancel(request, attempt)
        entry = self.find(request)
        if entry and entry["attempt"] == attempt:
            self.entries.remove(entry)

    @rule(replica=replicas, request=requests)
    def completed(self, replica: str, request: str) -> None:
        self.ledger.completed(replica, request)
        if self.late.get((replica, request)):
            self.late[replica, request].pop(0)
            return
        entry = self.find(request)
        if entry and entry["replica"] == replica:
            self.entries.remove(entry)

    @rule(replica=replicas, newly=st.integers(-2, 4))
    def accepted(self, replica: str, newly: int) -> None:
        epoch, total = self.seen.get(replica, ("e0", 0))
        self.ledger.observe(replica, epoch, total + newly)
        self.seen[replica] = (epoch, max(total, total + newly))
        mine = [e for e in self.entries if e["replica"] == replica]
        for entry in mine[: max(0, newly)]:
            self.entries.remove(entry)

    @rule(replica=replicas, total=st.integers(0, 3))
    def epoch(self, replica: str, total: int) -> None:
        epoch, _ = self.seen.get(replica, ("e0", 0))
        self.ledger.observe(replica, epoch, 0)
        new_epoch = f"e{int(epoch[1:]) + 1}"
        self.ledger.observe(replica, new_epoch, total)
        self.seen[replica] = (new_epoch, total)
        self.forget(replica)

    @rule(replica=replicas)
    def died(self, replica: str) -> None:
        self.ledger.drop(replica)
        self.seen.pop(replica, None)
        self.forget(replica)

    @rule(by_s=st.sampled_from([0.5, 3.0, TTL_S]))
    def ttl(self, by_s: float) -> None:
        self.now_s += by_s
        oldest_s = self.now_s - TTL_S
        self.entries = [e for e in self.entries if e["at_s"] > oldest_s]
        # The attempts of one request on one replica are forgotten together.
        self.late = {
            k: at_s for k, at_s in self.late.items() if at_s and at_s[-1] > oldest_s
        }

    def forget(self, replica: str) -> None:
        self.entries = [e for e in self.entries if e["replica"] != replica]

    @invariant()
    def sums_agree(self) -> None:
        for replica in REPLICAS:
            mine = [e["tokens"] for e in self.entries if e["replica"] == replica]
            assert self.ledger.unseen(replica) == Unseen(sum(mine), len(mine))
        assert len(self.ledger) == len(self.entries)

    def teardown(self) -> None:
        self.now_s += TTL_S
        assert_empty(self.ledger)


TestLedgerAgainstPlainLists = LedgerAgainstPlainLists.TestCase
TestLedgerAgainstPlainLists.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
