"""The ledger against a model of it, over any story."""

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from router.ledger import Ledger, Unseen

TTL_S = 10.0
REPLICAS = ("a", "b", "c")
REQUESTS = tuple(f"r{i}" for i in range(6))


class LedgerAgainstPlainLists(RuleBasedStateMachine):
    """The same story told with lists that are searched and summed each time."""

    replicas = st.sampled_from(REPLICAS)
    requests = st.sampled_from(REQUESTS)

    def __init__(self, assert_empty: Callable[[Ledger], None]) -> None:
        super().__init__()
        self.assert_empty = assert_empty

    @initialize()
    def begin(self) -> None:
        self.now_s = 0.0
        self.ledger = Ledger(ttl_s=TTL_S, now_s=lambda: self.now_s)
        self.attempts = dict.fromkeys(REQUESTS, 0)
        self.entries: list[dict[str, Any]] = []
        self.late: dict[tuple[str, str], list[float]] = {}
        self.seen: dict[str, tuple[str, int]] = {}
        self.are_named = False

    def find(self, request: str) -> dict[str, Any] | None:
        return next((e for e in self.entries if e["request"] == request), None)

    @rule(replica=replicas, request=requests, tokens=st.integers(-5, 500))
    def reserve(self, replica: str, request: str, tokens: int) -> None:
        key = REQUESTS.index(request)
        self.ledger.reserve(
            replica,
            request,
            tokens,
            self.attempts[request],
            prefill_tokens=2 * tokens,
            request_key=key,
        )
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

    @rule(replica=replicas, names=st.lists(requests, max_size=4), more=st.integers(0, 3))
    def accepted_by_name(self, replica: str, names: list[str], more: int) -> None:
        epoch, total = self.seen.get(replica, ("e0", 0))
        newly = len(names) + more
        keys = tuple(REQUESTS.index(name) for name in names)
        self.ledger.observe(replica, epoch, total + newly, keys)
        self.seen[replica] = (epoch, total + newly)
        mine = [e for e in self.entries if e["replica"] == replica]
        named = [e for e in mine if e["request"] in names]
        self.are_named = self.are_named or bool(named)
        unnamed = [e for e in mine if e not in named]
        for entry in named + unnamed[: more if self.are_named else newly]:
            self.entries.remove(entry)

    @rule(replica=replicas, names=st.lists(requests, max_size=4))
    def ended(self, replica: str, names: list[str]) -> None:
        self.ledger.forget(replica, [REQUESTS.index(name) for name in names])
        self.entries = [
            e for e in self.entries if e["replica"] != replica or e["request"] not in names
        ]

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
            assert self.ledger.unseen_prefill_tokens(replica) == 2 * sum(mine)
        assert len(self.ledger) == len(self.entries)

    def teardown(self) -> None:
        self.now_s += TTL_S
        self.assert_empty(self.ledger)


def test_a_ledger_agrees_with_plain_lists(assert_empty: Callable[[Ledger], None]) -> None:
    run_state_machine_as_test(
        lambda: LedgerAgainstPlainLists(assert_empty),
        settings=settings(max_examples=150, stateful_step_count=40),
    )
