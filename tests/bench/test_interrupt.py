"""SIGTERM is Ctrl-C, whatever Ctrl-C means at that moment."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from bench.interrupt import sigterm_as_ctrl_c


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """No test leaves a signal handler behind."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == before[1]
    signal.signal(signal.SIGINT, before[0])


@pytest.mark.parametrize("on_ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_interrupts_once_and_spares_the_clean_up(on_ctrl_c) -> None:
    signal.signal(signal.SIGINT, on_ctrl_c)
    cleaned_up = False
    with sigterm_as_ctrl_c(), pytest.raises(KeyboardInterrupt):  # noqa: PT012
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned_up = True
    assert cleaned_up


def test_sigterm_cancels_what_asyncio_runs() -> None:
    async def ends_well_when_cancelled() -> str:
        try:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "cancelled"
        return "slept"

    with sigterm_as_ctrl_c():
        assert asyncio.run(ends_well_when_cancelled()) == "cancelled"


def test_in_the_background_asyncio_ends_between_tasks_and_cleans_up() -> None:
    ended = []

    async def busy() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            ended.append("step")
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.append("cancelled")

    async def main() -> None:
        await asyncio.gather(busy(), asyncio.sleep(10))

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with sigterm_as_ctrl_c(), pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert ended == ["step", "cancelled"]
