"""What each replica does for streams that it cannot serve in time: it asks the others to.

A mover is part of its replica. It hears what routers hear, and knows what it moved itself;
what other movers do it learns from reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.fleet.replica import Replica
from qoe import Expectation
from router.cost import Ask
from router.demand import DEFAULT_OUTPUT_TOKENS
from router.fleet import Fleet
from router.ledger import Ledger
from router.moves import best_move
from telemetry.report import EngineReport, request_key

PERIOD_S = 0.25
# A stream that its reader does not miss yet may still be served in time where it is.
MAX_SLACK_S = 0.5
# What a move must win, of one reader's QoE.
MIN_GAIN = 0.1
MAX_MOVES_AT_ONCE = 2
MAX_MOVES_OF_A_STREAM = 2


class Move(NamedTuple):
    """A stream that goes on elsewhere."""

    request_id: str
    to: Replica


class Mover:
    """Decides for the streams of one replica.

    Attributes:
        moved: How often each stream was moved from here.
    """

    def __init__(self, replica: Replica, now_s: Callable[[], float]) -> None:
        self.moved: Counter[str] = Counter()
        self._replica = replica
        self._now_s = now_s
        self._ledger = Ledger(now_s=now_s)
        self._fleet = Fleet(now_s=now_s, ledger=self._ledger, outstanding=None)

    def hear(self, replica: int, report: EngineReport) -> None:
        """A report comes in."""
        self._fleet.hear(replica, report)

    def moves(self, serving: Sequence[Replica]) -> Iterator[Move]:
        """Streams that others should have, now; each is taken as done."""
        state = self._fleet.sync([(replica.number, None) for replica in serving])
        home = self._fleet.row(self._replica.number)
        # Who has no report cannot be compared.
        if home is None or state.oldest_report_at_s == -np.inf:
            return
        left = MAX_MOVES_AT_ONCE
        for request_id, ask, waited_s in self._candidates():
            if not left:
                return
            state = self._fleet.sync([(replica.number, None) for replica in serving])
            to = best_move(state, ask, home, waited_s=waited_s, min_gain=MIN_GAIN)
            if to is None:
                continue
            left -= 1
            self.moved[request_id] += 1
            self._ledger.reserve(
                serving[to].number,
                request_id,
                int(ask.demand_tokens),
                prefill_tokens=round(ask.prompt_tokens),
                request_key=request_key(request_id),
            )
            yield Move(request_id, serving[to])

    def _candidates(self) -> Iterator[tuple[str, Ask, float]]:
        """Those whose readers miss them, the latest reader first to be."""
        streams = self._replica.engine.scheduler.streams
        ids = self._replica.waiting
        slots = streams.slots(ids)
        slack_s = streams.readers.slack_s(slots, self._now_s())
        for at in np.argsort(-slack_s, kind="stable"):
            request_id, slot = ids[at], slots[at]
            if slack_s[at] > MAX_SLACK_S or self.moved[request_id] >= MAX_MOVES_OF_A_STREAM:
                continue
            readers = streams.readers
            delivered = float(readers.delivered_tokens[slot])
            output = streams.mean_output_tokens or DEFAULT_OUTPUT_TOKENS
            context = float(streams.prompt_tokens[slot]) + delivered
            ask = Ask(
                prompt_tokens=context,
                output_tokens=max(1, round(output)),
                demand_tokens=context + output / 2.0,
                cached_tokens=0.0,
                expectation=Expectation(
                    float(readers.ttft_s[slot]),
                    float(readers.tds[slot]),
                    float(streams.weight[slot]),
                ),
            )
            waited_s = float(readers.ttft_s[slot]) - float(slack_s[at])
            yield request_id, ask, waited_s


class Movers:
    """The movers of a fleet, each with what it heard itself."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._by_replica: dict[int, Mover] = {}
        self._last: dict[int, EngineReport] = {}

    def hear(self, replica: int, report: EngineReport) -> None:
        """A report comes in at all of them."""
        self._last[replica] = report
        for mover in self._by_replica.values():
            mover.hear(replica, report)

    def moves(self, replica: Replica, serving: Sequence[Replica]) -> Iterator[Move]:
        """What `replica` gives to others now; each is taken as done."""
        mover = self._by_replica.get(replica.number)
        if mover is None:
            mover = self._by_replica[replica.number] = Mover(replica, self._now_s)
            for number, report in self._last.items():
                mover.hear(number, report)
        return mover.moves(serving)
