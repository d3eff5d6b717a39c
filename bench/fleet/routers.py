"""The real routers in virtual time: reports come to them, and they send streams."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from bench.fleet.members import Member
from bench.load import PlannedStream
from router.chooser import Chooser, Stream
from router.settings import PolicyName, RouterSettings
from telemetry.report import EngineReport, request_key
from telemetry.routing_stats import to_routing_stats


class Routers:
    """`router_count` routers that streams go to in turn, none knowing of the others.

    Args:
        policy: Of all of them.
        count: How many there are.
        now_s: The fleet's clock.
        loss: Share of the reports that one router never gets.
        seed: Of the routers' own draws, and of the losses.
        sees_ends: Whether a router sees that a stream has ended (the handle path), or
            has only reports to go by (direct streaming).
    """

    def __init__(
        self,
        policy: PolicyName,
        count: int,
        now_s: Callable[[], float],
        *,
        loss: float,
        seed: int,
        sees_ends: bool,
    ) -> None:
        self._choosers = [
            Chooser(
                RouterSettings(policy=policy, routers=count, seed=1000 * seed + i),
                now_s=now_s,
            )
            for i in range(count)
        ]
        self._loss = loss
        self._rng = random.Random(f"lost reports {seed}")
        self._sees_ends = sees_ends
        self._turn = 0
        self._sent_by: dict[str, tuple[Chooser, int]] = {}
        self._stats: dict[int, dict[str, Any]] = {}

    @property
    def fallbacks(self) -> int:
        """Placements without scores."""
        return sum(chooser.fallbacks for chooser in self._choosers)

    def on_report(self, replica: int, report: EngineReport) -> None:
        """A report comes in at every router, or is lost on the way to it."""
        for chooser in self._choosers:
            if self._loss == 0.0 or self._rng.random() >= self._loss:
                chooser.on_report(replica, report)

    def on_routing_stats(self, replica: int, report: EngineReport | None) -> None:
        """Serve has told every router a replica's routing stats."""
        self._stats[replica] = to_routing_stats(report)

    def choose(
        self, replicas: Sequence[Member], request_id: str, stream: PlannedStream
    ) -> Member:
        """The next router's choice among replicas that are alive; at least one."""
        chooser = self._choosers[self._turn % len(self._choosers)]
        self._turn += 1
        asked = _as_asked(request_id, self._turn, stream)
        candidates = [(r.number, self._stats.get(r.number, {})) for r in replicas]
        ranks = chooser.choose(candidates, asked)
        rank = [replicas[i] for i in ranks[0]]
        chosen = rank[0]
        if self._sees_ends:
            # Of a rank Serve takes the shortest queue; HAProxy takes the first.
            chosen = min(rank, key=lambda replica: replica.streams)
            chooser.sent(request_id, chosen.number, self._turn)
            self._sent_by[request_id] = chooser, chosen.number
        return chosen

    def ended(self, request_id: str) -> None:
        """A stream has ended, however it did."""
        if request_id in self._sent_by:
            chooser, replica = self._sent_by.pop(request_id)
            chooser.completed(replica, request_id)

    def retain(self, replicas: Sequence[Member]) -> None:
        """Serve has told every router which replicas are alive."""
        numbers = [replica.number for replica in replicas]
        self._stats = {n: s for n, s in self._stats.items() if n in numbers}
        for chooser in self._choosers:
            chooser.retain(numbers)


def _as_asked(request_id: str, attempt: int, stream: PlannedStream) -> Stream:
    """The request as its client sends it: nothing in it tells how long the answer is."""
    reader = stream.expectation
    key = request_key(request_id)
    body = {
        # Token ids. Streams share no prefix.
        "prompt": (key, *(1,) * (stream.input_tokens - 1)),
        "stream": True,
        "vllm_xargs": {
            "qoe_ttft_s": reader.ttft_s,
            "qoe_tds": reader.tds,
            "qoe_weight": reader.weight,
        },
    }
    return Stream(request_id, attempt, body, request_key=key)
