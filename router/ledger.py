"""What was sent to each replica and is not yet visible in its report."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Replica = Hashable


class Unseen(NamedTuple):
    """What a replica has been sent and its report does not show yet."""

    demand_tokens: int
    streams: int


class Sums(NamedTuple):
    """All that `Ledger.unseen` and `Ledger.unseen_prefill_tokens` say of a replica."""

    demand_tokens: int
    streams: int
    prefill_tokens: int


class _Reservation(NamedTuple):
    replica: Replica
    request_id: str
    demand_tokens: int
    prefill_tokens: int
    reserved_at_s: float
    attempt: Hashable
    request_key: int | None


@dataclass(slots=True)
class _Account:
    """One replica: its reservations, oldest first, and what its report last said."""

    reservations: OrderedDict[str, _Reservation] = field(default_factory=OrderedDict)
    by_key: dict[int, _Reservation] = field(default_factory=dict)
    demand_tokens: int = 0
    prefill_tokens: int = 0
    epoch: str | None = None
    accepted_total: int = 0


class _Superseded(NamedTuple):
    attempts: int
    since_s: float


class Ledger:
    """Reservations of streams on replicas, each held until somebody answers for it.

    A report is up to a second old when it is read; without this, every stream of that
    second would go to the same replica. Released by whichever comes first: the engine
    accepted it, Serve completed it, its replica says that it has ended there, its replica
    died or started again, or `ttl_s` passed (in direct streaming Serve calls nobody back,
    and a stream that is cancelled on its way may never arrive).

    A report names the newest streams its engine accepted, where there is room for names.
    Where there is none it counts them: k newly accepted streams release the k oldest
    reservations of that replica. Streams of other routers are among the k: several routers
    release early, never late.

    Invariants:
        One per request: a new reservation of a request replaces its earlier one.
        One per attempt: the `completed` of a superseded attempt, which Serve delivers
            after its retry has reserved, releases nothing.
        Sums agree: `unseen` of a replica is the sum over its reservations, never negative.
        Drains: `ttl_s` after the last call everything is zero.
        Bounded: memory is that of the replicas retained and the requests of `ttl_s`.
        No await: every method is synchronous, for one event loop.
    """

    def __init__(
        self, *, ttl_s: float = 10.0, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_s = ttl_s
        self._now_s = now_s
        self._accounts: dict[Replica, _Account] = {}
        # Both in the order of their times, so that the old ones are in front.
        self._reservations: OrderedDict[str, _Reservation] = OrderedDict()
        self._superseded: OrderedDict[tuple[Replica, str], _Superseded] = OrderedDict()
        self._changed: set[Replica] = set()
        # Whether engines call requests by the names that we do.
        self._are_named = False

    def __len__(self) -> int:
        self._expire()
        return len(self._reservations)

    def unseen(self, replica: Replica) -> Unseen:
        """What `replica` was sent and has not answered for."""
        self._expire()
        sums = self.sums(replica)
        return Unseen(sums.demand_tokens, sums.streams)

    def unseen_prefill_tokens(self, replica: Replica) -> int:
        """Prompt tokens of the streams in `unseen` that its engine has to compute."""
        self._expire()
        return self.sums(replica).prefill_tokens

    def sums(self, replica: Replica) -> Sums:
        """Of `replica`, as they were when `take_changed` or another method was called."""
        account = self._accounts.get(replica)
        if account is None:
            return Sums(0, 0, 0)
        return Sums(
            account.demand_tokens, len(account.reservations), account.prefill_tokens
        )

    def oldest_age_s(self) -> float:
        """How long the oldest reservation has been held; 0 without any."""
        self._expire()
        oldest = next(iter(self._reservations.values()), None)
        return 0.0 if oldest is None else self._now_s() - oldest.reserved_at_s

    def take_changed(self) -> set[Replica]:
        """Replicas whose `unseen` has changed since this was last asked."""
        self._expire()
        changed, self._changed = self._changed, set()
        return changed

    def reserve(
        self,
        replica: Replica,
        request_id: str,
        demand_tokens: int,
        attempt: Hashable = None,
        *,
        prefill_tokens: int = 0,
        request_key: int | None = None,
    ) -> None:
        """Book a stream on the replica chosen for it.

        Args:
            replica: Where it is about to go.
            request_id: Serve's internal id: the same for all attempts of a request.
            demand_tokens: KV tokens it is expected to need.
            attempt: What tells an attempt from its retry. An attempt may reserve many
                times before it is sent; each attempt sent ends in one `completed`.
            prefill_tokens: Prompt tokens that its engine will have to compute.
            request_key: What a report calls the request; None if nobody knows.
        """
        self._expire()
        earlier = self._reservations.get(request_id)
        if earlier is not None:
            self._release(earlier)
            if earlier.attempt != attempt:
                self._expect_completed(earlier.replica, request_id)
        entry = _Reservation(
            replica,
            request_id,
            max(0, demand_tokens),
            max(0, prefill_tokens),
            self._now_s(),
            attempt,
            request_key,
        )
        self._reservations[request_id] = entry
        self._open(entry)

    def move(self, request_id: str, replica: Replica, attempt: Hashable = None) -> None:
        """Serve sent this attempt to `replica`, whatever was chosen."""
        entry = self._reservations.get(request_id)
        if entry is None or entry.attempt != attempt or entry.replica == replica:
            return
        self._close(entry)
        moved = entry._replace(replica=replica)
        self._reservations[request_id] = moved  # Keeps its place: its time is the same.
        self._open(moved)

    def cancel(self, request_id: str, attempt: Hashable = None) -> None:
        """This attempt was given up before it was sent anywhere."""
        entry = self._reservations.get(request_id)
        if entry is not None and entry.attempt == attempt:
            self._release(entry)

    def completed(self, replica: Replica, request_id: str) -> None:
        """An attempt of the request ended on `replica`: finished, failed or rejected."""
        if self._was_superseded(replica, request_id):
            return
        entry = self._reservations.get(request_id)
        if entry is not None and entry.replica == replica:
            self._release(entry)

    def observe(
        self,
        replica: Replica,
        epoch: str,
        accepted_total: int,
        accepted_keys: Sequence[int] = (),
    ) -> None:
        """A report of `replica` says that its engine has accepted so many streams.

        Named ones are released by name, and those too many to be named there by count.
        Until a name was met for the first time all are released by count: an engine may
        call them by names that are not ours. Of the first report ever seen all are new: if
        they were not sent by us, then what we sent since the router started is released a
        report too early.
        """
        account = self._accounts.setdefault(replica, _Account())
        if account.epoch not in (None, epoch):
            self.drop(replica)
            account = self._accounts.setdefault(replica, _Account())
            account.accepted_total = accepted_total
        account.epoch = epoch
        newly_accepted = accepted_total - account.accepted_total
        account.accepted_total = max(account.accepted_total, accepted_total)
        named = [account.by_key[k] for k in set(accepted_keys) if k in account.by_key]
        for entry in named:
            self._release(entry)
        self._are_named = self._are_named or bool(named)
        known = len(accepted_keys) if self._are_named else 0
        unnamed = newly_accepted - known
        for _ in range(min(unnamed, len(account.reservations))):
            self._release(next(iter(account.reservations.values())))

    def forget(self, replica: Replica, keys: Sequence[int]) -> None:
        """These are over at `replica`, whether or not they came to its engine."""
        account = self._accounts.get(replica)
        if account is None:
            return
        for key in keys:
            entry = account.by_key.get(key)
            if entry is not None:
                self._release(entry)

    def drop(self, replica: Replica) -> None:
        """`replica` is gone, and with it all that it was sent."""
        account = self._accounts.pop(replica, None)
        self._changed.add(replica)
        if account is not None:
            for request_id in account.reservations:
                del self._reservations[request_id]

    def retain(self, replicas: Collection[Replica]) -> None:
        """Drop every replica that is not one of `replicas`."""
        for replica in [r for r in self._accounts if r not in replicas]:
            self.drop(replica)

    def _release(self, entry: _Reservation) -> None:
        del self._reservations[entry.request_id]
        self._close(entry)

    def _open(self, entry: _Reservation) -> None:
        account = self._accounts.setdefault(entry.replica, _Account())
        account.reservations[entry.request_id] = entry
        if entry.request_key is not None:
            account.by_key[entry.request_key] = entry
        account.demand_tokens += entry.demand_tokens
        account.prefill_tokens += entry.prefill_tokens
        self._changed.add(entry.replica)

    def _close(self, entry: _Reservation) -> None:
        account = self._accounts[entry.replica]
        del account.reservations[entry.request_id]
        if entry.request_key is not None and account.by_key.get(entry.request_key) is entry:
            del account.by_key[entry.request_key]
        account.demand_tokens -= entry.demand_tokens
        account.prefill_tokens -= entry.prefill_tokens
        self._changed.add(entry.replica)

    def _expect_completed(self, replica: Replica, request_id: str) -> None:
        key = (replica, request_id)
        earlier = self._superseded.pop(key, None)
        attempts = 1 if earlier is None else earlier.attempts + 1
        self._superseded[key] = _Superseded(attempts, self._now_s())

    def _was_superseded(self, replica: Replica, request_id: str) -> bool:
        self._expire()
        key = (replica, request_id)
        expected = self._superseded.get(key)
        if expected is None:
            return False
        if expected.attempts == 1:
            del self._superseded[key]
        else:
            self._superseded[key] = expected._replace(attempts=expected.attempts - 1)
        return True

    def _expire(self) -> None:
        oldest_s = self._now_s() - self._ttl_s
        while self._reservations:
            entry = next(iter(self._reservations.values()))
            if entry.reserved_at_s > oldest_s:
                break
            self._release(entry)
        while self._superseded:
            key, expected = next(iter(self._superseded.items()))
            if expected.since_s > oldest_s:
                break
            del self._superseded[key]
