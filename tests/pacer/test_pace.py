"""The rule against a second telling of it, and against the ideal line."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacer.pace import LATE_LOOK_S, Pace
from qoe import ExpectationError

# Between two deltas: jitter on a network, a stall, a burst; in any order.
GAPS_S = st.one_of(st.floats(0.05, 0.3), st.just(1.0), st.just(0.0), st.floats(0.0, 3.0))
DELTAS = st.lists(st.tuples(GAPS_S, st.integers(1, 4)), min_size=1, max_size=40)
TDS = st.floats(0.5, 50.0)
CATCH_UP = st.floats(1.0, 3.0)


def arrivals(deltas: list[tuple[float, int]]) -> list[float]:
    """When each token came."""
    at_s, times = 0.0, []
    for gap_s, tokens in deltas:
        at_s += gap_s
        times += [at_s] * tokens
    return times


def releases(pace: Pace, deltas: list[tuple[float, int]]) -> list[float]:
    """When each token is released to a timer that is never late."""
    at_s, times = 0.0, []

    def look(t_s: float) -> None:
        times.extend([t_s] * (pace.look(t_s) - len(times)))

    for gap_s, tokens in deltas:
        at_s += gap_s
        while (due_s := pace.next_at_s()) is not None and due_s <= at_s:
            look(due_s)
        pace.push(at_s, tokens)
        look(at_s)
    while (due_s := pace.next_at_s()) is not None:
        look(due_s)
    return times


@settings(deadline=None)
@given(deltas=DELTAS, tds=TDS, catch_up=CATCH_UP)
def test_a_token_is_shown_when_the_rule_says(
    deltas: list[tuple[float, int]], tds: float, catch_up: float
) -> None:
    came = arrivals(deltas)
    expected = [came[0]]
    for i, came_s in enumerate(came[1:], start=1):
        line_s, gap_s = came[0] + i / tds, 1 / (catch_up * tds)
        expected.append(max(came_s, line_s, expected[-1] + gap_s))
    shown = releases(Pace(tds, catch_up=catch_up), deltas)
    assert shown == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(deltas=DELTAS, tds=TDS, catch_up=CATCH_UP)
def test_nothing_comes_before_the_line_or_faster_than_the_bound(
    deltas: list[tuple[float, int]], tds: float, catch_up: float
) -> None:
    came, shown = arrivals(deltas), releases(Pace(tds, catch_up=catch_up), deltas)
    assert len(shown) == len(came)
    for i, (came_s, shown_s) in enumerate(zip(came, shown, strict=True)):
        assert shown_s >= came_s - 1e-6
        assert shown_s >= came[0] + i / tds - 1e-6
    for before_s, after_s in pairwise(shown):
        assert after_s - before_s >= 1 / (catch_up * tds) - 1e-6


@settings(deadline=None)
@given(deltas=DELTAS, tds=TDS, catch_up=CATCH_UP)
def test_a_reader_with_a_buffer_is_on_the_line(
    deltas: list[tuple[float, int]], tds: float, catch_up: float
) -> None:
    came, shown = arrivals(deltas), releases(Pace(tds, catch_up=catch_up), deltas)
    for i in range(1, len(shown)):
        line_s, was_on_it = (
            came[0] + i / tds,
            shown[i - 1] <= came[0] + (i - 1) / tds + 1e-6,
        )
        if came[i] <= line_s and was_on_it:
            assert shown[i] == pytest.approx(line_s, abs=1e-5)


@settings(deadline=None)
@given(
    gaps_s=st.lists(GAPS_S, min_size=2, max_size=12, unique=True),
    order=st.randoms(use_true_random=False),
)
def test_a_reader_catches_up_whatever_the_order_of_the_gaps(
    gaps_s: list[float], order: object
) -> None:
    order.shuffle(gaps_s)  # type: ignore[attr-defined]
    deltas = [(gap_s, 1) for gap_s in gaps_s] + [(0.0, 1000)]
    shown = releases(Pace(4.0), deltas)
    behind_s = shown[len(gaps_s)] - (shown[0] + len(gaps_s) / 4.0)
    # At 1.5 times the pace, a second behind is made good in two.
    caught_up = len(gaps_s) + math.ceil(behind_s * 3.0 * 4.0) + 1
    assert shown[caught_up] == pytest.approx(shown[0] + caught_up / 4.0)


def test_a_pause_moves_the_rest_by_its_length() -> None:
    pace = Pace(4.0)
    pace.push(0.5, 4)
    assert pace.look(0.5) == 1
    pace.pause(0.6)
    assert pace.next_at_s() is None
    assert pace.look(9.0) == 1
    pace.resume(10.6)
    assert pace.next_at_s() == pytest.approx(10.75)


def test_two_pauses_in_a_row_are_one() -> None:
    pace = Pace(4.0)
    pace.push(0.0, 4)
    pace.look(0.0)
    pace.pause(0.1)
    pace.pause(5.0)
    pace.resume(10.1)
    pace.resume(10.2)
    assert pace.next_at_s() == pytest.approx(10.25)


def test_a_late_look_shows_no_more_than_its_moment() -> None:
    """A process that slept, or a hidden tab, must not be answered with a jump."""
    pace = Pace(4.0)
    pace.push(0.0, 100)
    assert pace.look(0.0) == 1
    assert pace.look(10.0) == 2
    assert pace.next_at_s() == pytest.approx(10.0 - LATE_LOOK_S + 1 / 6.0)


def test_a_timer_that_is_always_late_does_not_slow_the_stream_down() -> None:
    pace = Pace(4.0)
    pace.push(0.0, 401)
    t_s = 0.0
    while (due_s := pace.next_at_s()) is not None:
        t_s = due_s + 0.02
        pace.look(t_s)
    assert t_s == pytest.approx(100.02)


def test_slack_is_what_is_left_to_read() -> None:
    pace = Pace(4.0)
    assert pace.slack_s(1.0) == 0.0
    pace.push(1.0, 3)
    pace.look(1.0)
    assert pace.slack_s(1.0) == pytest.approx(0.75)
    pace.look(1.25)
    pace.look(1.5)
    assert pace.slack_s(3.0) == pytest.approx(-1.25)


@pytest.mark.parametrize("tds", [0.0, -1.0, float("nan"), float("inf"), 1001.0, True])
def test_a_pace_out_of_range_is_refused(tds: float) -> None:
    with pytest.raises(ExpectationError, match=r"^tds=.* from 0\.01 to 1000 tokens/s"):
        Pace(tds)
    with pytest.raises(ExpectationError, match=r"^tds="):
        Pace(4.0).speed(0.0, tds)


@pytest.mark.parametrize("catch_up", [0.5, 11.0, float("nan")])
def test_a_speed_up_out_of_range_is_refused(catch_up: float) -> None:
    with pytest.raises(ExpectationError, match=r"^catch_up=.* from 1 to 10 times the pace"):
        Pace(4.0, catch_up=catch_up)
