"""A bucket lets its rate through, and never more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deployments.access.rate import TokenBucket, retry_after_s


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(st.floats(0.1, 50.0), st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60))
def test_no_more_pass_than_the_burst_and_the_rate_allow(
    rate_per_s: float, gaps_s: list[float]
) -> None:
    clock = Clock()
    bucket = TokenBucket(rate_per_s, now_s=clock)
    passed = 0
    for gap_s in gaps_s:
        clock.now_s += gap_s
        passed += bucket.take() == 0.0
    assert passed <= max(1.0, rate_per_s) + rate_per_s * clock.now_s + 1e-6


@given(st.floats(0.1, 50.0))
def test_who_waits_as_long_as_told_passes(rate_per_s: float) -> None:
    clock = Clock()
    bucket = TokenBucket(rate_per_s, now_s=clock)
    while (wait_s := bucket.take()) == 0.0:
        pass
    clock.now_s += retry_after_s(wait_s)
    assert bucket.take() == 0.0
