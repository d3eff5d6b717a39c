"""What is done beside the work goes on after a failure, and ends when it is told to."""

import threading
import time

from telemetry.ticker import Ticker


def test_a_failed_call_is_followed_by_the_next_and_none_comes_after_close() -> None:
    called, thrice = [], threading.Event()

    def tick() -> None:
        called.append(1)
        if len(called) == 3:
            thrice.set()
        raise OSError("no network")

    ticker = Ticker("test", tick, 0.01)
    assert thrice.wait(5)
    ticker.close()
    ticker.close()
    count = len(called)
    assert ticker.failed_total == count
    time.sleep(0.05)
    assert len(called) == count
