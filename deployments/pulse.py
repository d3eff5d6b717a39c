"""Whether an engine that has not died says anything at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

# Between two looks.
PERIOD_S = 0.25
# So long a step may take before others had better get the streams. Routers learn of it
# within two seconds.
SILENT_S = 1.5


class EnginePulse:
    """Counts the looks since an engine gave a sign of life: a report, or an answer.

    Looks and not seconds: a replica that was stopped itself, or whose clock has jumped,
    does not blame its engine.

    Args:
        ask: Whatever the engine answers between two steps.
        said: Names its last report.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[object]], said: Callable[[], object]
    ) -> None:
        self._ask = ask
        self._said = said
        self._last_said = said()
        self._asked: asyncio.Future[object] | None = None
        self._looks = 0

    @property
    def silent_s(self) -> float:
        """Seconds without a word, as far as somebody looked."""
        return self._looks * PERIOD_S

    @property
    def is_silent(self) -> bool:
        """Whether others had better get the streams."""
        return self.silent_s >= SILENT_S

    def look(self) -> None:
        """To be called every `PERIOD_S`, in the event loop of the engine's client."""
        said, asked = self._said(), self._asked
        has_answered = asked is not None and asked.done()
        if asked is not None and has_answered:
            # A question that failed is no answer.
            has_answered = not asked.cancelled() and asked.exception() is None
            self._asked = None
        self._looks = 0 if has_answered or said != self._last_said else self._looks + 1
        self._last_said = said
        if self._looks and self._asked is None:
            self._asked = asyncio.ensure_future(self._ask())

    def close(self) -> None:
        """Wait for no answer any more."""
        if self._asked is not None:
            self._asked.cancel()
