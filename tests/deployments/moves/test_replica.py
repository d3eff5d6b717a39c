"""A replica's moves are counted, told, and ended with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.moves.replica import Moving
from qoe import Expectation
from router.mover import MoveSettings
from telemetry.catalogue import MOVES


class Peers:
    """A fleet of one, that can be left."""

    home = "home"

    def __init__(self) -> None:
        self.is_closed = False

    def ask(self, hand_over: Any) -> Any:
        raise AssertionError("there is nobody")

    def replicas(self) -> list[str]:
        return ["home"]

    def reports(self) -> list[Any]:
        return []

    def close(self) -> None:
        self.is_closed = True


class Counters:
    """A framework that adds up what each counter is told."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}

    def Counter(self, name: str, **_: Any) -> Any:  # noqa: N802 - as Ray calls it
        def inc(amount: float, tags: dict[str, str]) -> None:
            self.told[tags["outcome"]] = self.told.get(tags["outcome"], 0.0) + amount

        assert name == MOVES.name
        return SimpleNamespace(inc=inc)


async def eventually(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not look():  # noqa: ASYNC110 - a thread tells, not a task
            await asyncio.sleep(0.01)


async def test_outcomes_of_moves_are_told_until_the_replica_goes() -> None:
    engine, peers, counters = SimpleNamespace(), Peers(), Counters()
    engine.let_move = lambda moves: setattr(engine, "moves", moves)
    moving = Moving(
        engine, peers, {"quiet_s": 0.2}, Expectation(1.0, 5.0), counters, period_s=0.01
    )
    await eventually(lambda: len(counters.told) == 4)
    assert set(counters.told) == set(MOVES.labels["outcome"])
    assert max(counters.told.values()) < 1e-9
    engine.moves.counts.update(asked=3, moved=2, returned=1)
    await eventually(lambda: counters.told["asked"] >= 3)
    assert moving.counts == {"asked": 3, "moved": 2, "returned": 1, "failed": 0}
    assert counters.told == pytest.approx(moving.counts)
    moving.close()
    assert peers.is_closed
    await eventually(moving._watch.done)
    engine.moves.counts.update(asked=5)
    await asyncio.sleep(0.05)
    assert counters.told["asked"] == pytest.approx(3)


async def test_a_setting_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="min_gian"):
        Moving(SimpleNamespace(), Peers(), {"min_gian": 1}, Expectation(1.0, 5.0), None)  # type: ignore[arg-type]
    assert "min_gain" in MoveSettings.model_fields
