"""An engine is silent when it answers nothing while somebody looks."""

import asyncio
from collections.abc import Awaitable, Callable

from deployments.pulse import PERIOD_S, SILENT_S, EnginePulse

LOOKS = round(SILENT_S / PERIOD_S)


class Engine:
    """Answers while it runs, and reports when a test says so."""

    def __init__(self) -> None:
        self.runs = asyncio.Event()
        self.runs.set()
        self.said = 0
        self.asked = 0

    async def answer(self) -> bool:
        self.asked += 1
        return await self.runs.wait()


def pulse_of(engine: Engine, ask: Callable[[], Awaitable[object]] | None = None):  # type: ignore[no-untyped-def]
    return EnginePulse(ask or engine.answer, lambda: engine.said)


async def look(pulse: EnginePulse, times: int) -> None:
    for _ in range(times):
        pulse.look()
        for _ in range(3):
            await asyncio.sleep(0)


async def test_an_idle_engine_is_heard_when_it_is_asked() -> None:
    engine = Engine()
    pulse = pulse_of(engine)
    await look(pulse, 10 * LOOKS)
    assert not pulse.is_silent
    assert pulse.silent_s <= PERIOD_S


async def test_an_engine_that_reports_is_not_asked() -> None:
    engine = Engine()
    pulse = pulse_of(engine)
    for _ in range(10 * LOOKS):
        engine.said += 1
        await look(pulse, 1)
    assert engine.asked == 0
    assert not pulse.is_silent


async def test_a_frozen_engine_is_silent_until_it_goes_on() -> None:
    engine = Engine()
    pulse = pulse_of(engine)
    engine.runs.clear()
    await look(pulse, LOOKS - 1)
    assert not pulse.is_silent
    await look(pulse, 40)
    assert pulse.is_silent
    assert pulse.silent_s == (LOOKS + 39) * PERIOD_S
    assert engine.asked == 1, "one question is enough"
    engine.runs.set()
    await look(pulse, 2)
    assert not pulse.is_silent


async def test_a_question_that_fails_is_no_answer() -> None:
    async def fail() -> None:
        raise RuntimeError("dead")

    pulse = pulse_of(Engine(), fail)
    await look(pulse, LOOKS)
    assert pulse.is_silent


async def test_a_replica_that_was_stopped_itself_blames_nobody() -> None:
    engine = Engine()
    pulse = pulse_of(engine)
    await look(pulse, 2)
    # Whatever passes between two looks, it is one look.
    await asyncio.sleep(2 * PERIOD_S)
    await look(pulse, 1)
    assert pulse.silent_s <= PERIOD_S
