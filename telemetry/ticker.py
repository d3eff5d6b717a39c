"""Something that is done again and again beside the real work, and never in its way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Ticker:
    """A daemon thread that calls `tick` every `period_s` until it is closed.

    A failed call is counted, the first one logged, and the next one made.

    Attributes:
        failed_total: Calls that raised.
    """

    def __init__(self, name: str, tick: Callable[[], object], period_s: float) -> None:
        self.failed_total = 0
        self._name = name
        self._tick = tick
        self._period_s = period_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No call begins after this; a second one does nothing."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._period_s):
            try:
                self._tick()
            except Exception:
                self.failed_total += 1
                if self.failed_total == 1:
                    logger.exception(
                        "%s failed once; the next time it may not.", self._name
                    )
