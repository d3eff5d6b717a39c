import time

import pytest

from bench.fidelity.clock import CLOCKS, CpuClock, WallClock, clock_named


def test_a_cpu_clock_stands_still_while_its_thread_does() -> None:
    clock = CpuClock()
    before_s = clock.now_s()
    time.sleep(0.2)
    assert clock.now_s() - before_s < 0.1


def test_a_cpu_clock_skips_a_pause_without_waiting() -> None:
    clock = CpuClock()
    before_s = time.perf_counter()
    clock.pass_until(clock.now_s() + 1000.0)
    skipped_to_s = clock.now_s()
    clock.pass_until(skipped_to_s - 500.0)
    assert clock.now_s() >= skipped_to_s >= 1000.0
    assert time.perf_counter() - before_s < 100.0


def test_a_wall_clock_waits() -> None:
    clock = WallClock()
    until_s = clock.now_s() + 0.05
    clock.pass_until(until_s)
    assert clock.now_s() >= until_s


@pytest.mark.parametrize("name", CLOCKS)
def test_every_clock_that_may_be_asked_for_goes_on(name) -> None:
    clock = clock_named(name)
    before_s = clock.now_s()
    assert sum(range(100_000)) > 0
    assert clock.now_s() > before_s
