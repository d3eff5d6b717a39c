"""The engine never stops because of Andes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Guard:
    """Counts our failures, logs the first one, and lets the engine go on.

    Attributes:
        failures_total: Failures so far.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.failures_total = 0
        self._logger = logger

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            if self.failures_total == 0:
                self._logger.exception(
                    "Andes failed at %s; these steps are plain vLLM.", what
                )
            self.failures_total += 1
