"""SIGTERM ends a command as Ctrl-C does: it cleans up, and says what was lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Inside the block, the first SIGTERM does what Ctrl-C would do at that moment.

    Only for the main thread: no other may set a signal handler.
    """
    before = signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _as_ctrl_c(signum: int, frame: FrameType | None) -> None:
    # Once: what comes next is the clean-up, and nobody gains if that is interrupted.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    # Not always `KeyboardInterrupt`: asyncio cancels its main task instead.
    if callable(on_ctrl_c):
        on_ctrl_c(signum, frame)
        return
    # What a script starts in the background ignores Ctrl-C, and must end all the same.
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        _stop()
    else:
        # Between two tasks: one that is torn in the middle may keep it to itself.
        loop.call_soon_threadsafe(_stop)


def _stop() -> NoReturn:
    raise KeyboardInterrupt
