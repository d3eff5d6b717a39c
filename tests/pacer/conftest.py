"""A clock that jumps: hours of reading in a moment, to the microsecond."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on which nothing takes time but waiting, which takes none."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        if not self._ready and not self._stopping:
            waiting = [timer for timer in self._scheduled if not timer.cancelled()]
            assert waiting, "everybody waits for somebody else"
            self._now_s = max(self._now_s, min(timer.when() for timer in waiting))
        super()._run_once()


@pytest.fixture
def run() -> Run:
    """Runs a coroutine on a `JumpingLoop`; no task and no generator may outlive it."""

    def runner(main: Coroutine[Any, Any, Any]) -> Any:
        loop = JumpingLoop()
        problems: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: problems.append(context))
        try:
            result = loop.run_until_complete(asyncio.wait_for(main, 10_000))
            left = asyncio.all_tasks(loop)
            assert not left, left
            assert not problems, problems
            return result
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return runner
