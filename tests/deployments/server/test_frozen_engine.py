"""A replica whose engine is alive and says nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deployments.server import ENGINE_TIMEOUT_KEY, AndesServer


@pytest.fixture
def frozen_class(engine_class: Any) -> Any:
    """An engine that answers while it runs, and dies when it is killed."""

    class Frozen(engine_class):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.runs = asyncio.Event()

        async def is_sleeping(self) -> bool:
            return not await self.runs.wait()

        def kill(self) -> None:
            self.is_dead = True

    return Frozen


async def until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 30 s")


def accepts(server: AndesServer) -> bool:
    assert server._telemetry is not None
    report = server._telemetry.latest()
    return report is not None and report.accepting


async def test_a_frozen_engine_takes_no_streams_until_it_goes_on(
    make_server: Any, frozen_class: Any
) -> None:
    server = make_server(frozen_class)
    await server.start()
    await until(lambda: accepts(server))
    await until(lambda: not accepts(server))
    # Serve is content for now, and does not make it take streams.
    await server.check_health()
    assert not accepts(server)
    server.engine.runs.set()
    await until(lambda: accepts(server))
    await server.__del__()


async def test_an_engine_that_stays_frozen_is_killed_and_the_health_check_fails(
    make_server: Any, frozen_class: Any
) -> None:
    server = make_server(frozen_class)
    server._llm_config.experimental_configs[ENGINE_TIMEOUT_KEY] = 2.5
    await server.start()
    await until(lambda: server.engine.is_dead)
    with pytest.raises(RuntimeError, match="dead"):
        await server.check_health()
    assert not accepts(server)
    await server.__del__()
