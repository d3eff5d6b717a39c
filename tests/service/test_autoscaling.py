"""Scaling on the live app: a replica more while readers suffer, one less in calm.

Both happen under streams, and none of them is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

import pytest
from ray import serve
from ray.serve.schema import ReplicaState

if TYPE_CHECKING:
    from conftest import Answer, Client

# Starting an engine beside a loaded one takes a minute on two cores.
pytestmark = pytest.mark.nightly

READER = {"qoe_profile": "reading"}
BURST_READERS, BURST_TOKENS = 40, 400
# Two streams are little, and there is always one while a replica is told to go.
CALM_READERS, CALM_TOKENS = 2, 1200
UP_TIMEOUT_S, START_TIMEOUT_S, DOWN_TIMEOUT_S = 60.0, 300.0, 180.0


@dataclass
class Seen:
    """What was there at one look: replicas by state, and what those that run say."""

    at_s: float
    states: dict[str, int]
    below_target: int
    streams: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)

    @property
    def replicas(self) -> int:
        """All that are there, also those that start or stop."""
        return sum(self.states.values())

    @property
    def running(self) -> int:
        return self.states.get(ReplicaState.RUNNING, 0)


class Fleet:
    """Looks at the replicas of a service, again and again.

    Attributes:
        seen: Every look so far, oldest first.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seen: list[Seen] = []

    def look(self) -> Seen:
        app = serve.status().applications[self._client.service.config.app]
        (engines,) = [d for n, d in app.deployments.items() if n.startswith("AndesServer")]
        known = self._client.service.reports()
        reports = {name: report for name, report in known.items() if report is not None}
        seen = Seen(
            at_s=time.monotonic(),
            states=dict(engines.replica_states),
            below_target=sum(r.streams_below_target for r in reports.values()),
            streams={name: r.running + r.waiting for name, r in reports.items()},
            accepted={name: r.accepted_total for name, r in reports.items()},
        )
        self.seen.append(seen)
        return seen

    def until(self, condition: Callable[[Seen], bool], timeout_s: float) -> Seen:
        deadline_s = time.monotonic() + timeout_s
        while not condition(seen := self.look()):
            assert time.monotonic() < deadline_s, seen
            time.sleep(0.25)
        return seen


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(BURST_READERS + CALM_READERS) as pool:
        yield pool


def _read_on(client: Client, max_tokens: int, enough: Event) -> list[Answer]:
    """One stream after the other, to its end, until it is enough."""
    answers = []
    while not enough.is_set():
        answers.append(
            client.complete(
                "x" * 100,
                stream=True,
                max_tokens=max_tokens,
                ignore_eos=True,
                stream_options={"include_usage": True},
                vllm_xargs=READER,
            )
        )
    return answers


def _whole(answers: list[Future[list[Answer]]], tokens: int) -> list[Answer]:
    """Every stream there was, once it is clear that all of them were whole."""
    told = [answer for future in answers for answer in future.result()]
    assert [answer.status for answer in told] == [200] * len(told)
    assert {answer.usage["completion_tokens"] for answer in told} == {tokens}
    return told


def test_a_replica_comes_when_readers_suffer_and_goes_in_calm_without_losing_a_stream(
    scaling: Client, pool: ThreadPoolExecutor
) -> None:
    fleet = Fleet(scaling)
    (first,) = fleet.until(lambda seen: seen.replicas == 1, DOWN_TIMEOUT_S).accepted
    enough, calm_enough = Event(), Event()
    calm = [
        pool.submit(_read_on, scaling, CALM_TOKENS, calm_enough)
        for _ in range(CALM_READERS)
    ]
    burst = [
        pool.submit(_read_on, scaling, BURST_TOKENS, enough) for _ in range(BURST_READERS)
    ]
    try:
        fleet.until(lambda seen: seen.replicas == 2, UP_TIMEOUT_S)
        fleet.until(lambda seen: seen.running == 2, START_TIMEOUT_S)
        assert max(seen.below_target for seen in fleet.seen) > 0
        # The new one is used.
        fleet.until(
            lambda seen: any(
                taken > 1 for name, taken in seen.accepted.items() if name != first
            ),
            START_TIMEOUT_S,
        )
        enough.set()
        assert len(_whole(burst, BURST_TOKENS)) >= BURST_READERS
        down = fleet.until(lambda seen: seen.running == 1, DOWN_TIMEOUT_S)
        fleet.until(lambda seen: seen.replicas == 1, DOWN_TIMEOUT_S)
        # The one that is left serves on.
        gone = fleet.seen[-1]
        fleet.until(
            lambda seen: (
                sum(seen.accepted.values()) > sum(gone.accepted.values()) + CALM_READERS
            ),
            DOWN_TIMEOUT_S,
        )
    finally:
        enough.set()
        calm_enough.set()
    # Some were written while one of the two was told to go.
    assert any(
        answer.received_at_s[0] < down.at_s < answer.received_at_s[-1]
        for answer in _whole(calm, CALM_TOKENS)
    )
    assert max(seen.replicas for seen in fleet.seen) == 2
