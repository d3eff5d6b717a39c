"""The engine never stops because of Andes."""

from __future__ import annotations

import logging
from types import TracebackType


class Guard:
    """Counts our failures, logs the first one, and lets the engine go on.

    Attributes:
        failures_total: Failures so far.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.failures_total = 0
        self._logger = logger
        self._sections: dict[str, _Section] = {}

    def __call__(self, what: str) -> _Section:
        """A `with` block that an exception leaves quietly; `what` it was is logged."""
        section = self._sections.get(what)
        if section is None:
            section = self._sections[what] = _Section(self, what)
        return section

    def failed(self, what: str, error: Exception) -> None:
        """Note a failure."""
        if self.failures_total == 0:
            self._logger.error(
                "Andes failed at %s; these steps are plain vLLM.", what, exc_info=error
            )
        self.failures_total += 1


class _Section:
    """One kind of work; it keeps no state, so that it is made once, and may be nested.

    Some run for every token: a generator-based context manager costs five times as much.
    """

    __slots__ = ("_guard", "_what")

    def __init__(self, guard: Guard, what: str) -> None:
        self._guard = guard
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._guard.failed(self._what, error)
        return True
