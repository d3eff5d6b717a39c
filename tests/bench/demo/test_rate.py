"""The queue in closed form, and that the rate chosen is the one that was asked for."""

import pytest

from bench.demo.probe import Probe
from bench.demo.rate import (
    QOE_RANGE,
    TARGET_QOE,
    at_rate,
    choose_rate,
    correct_rate,
    forecast,
)
from bench.load import BurstShape, PlannedStream, cyclic_burst, plan_load
from qoe import PROFILES, Expectation, area_qoe

WINDOW_S = 45.0
# 1,000 tokens/s by 10 streams at once.
MACHINE = Probe(halves_tokens_per_s=(900.0, 1100.0), streams=10.2, output_tokens=200.0)
READER = Expectation(1.0, 5.0)
WINDOW = cyclic_burst(BurstShape(), duration_s=WINDOW_S, seed=3)


def load_at(rate: float) -> tuple[PlannedStream, ...]:
    return plan_load(at_rate(WINDOW, rate, WINDOW_S, 3), PROFILES["reading"]).streams


def stream(arrival_s: float, tokens: int) -> PlannedStream:
    return PlannedStream(arrival_s, 100, tokens, READER)


def test_nobody_waits_while_there_is_room() -> None:
    assert forecast([stream(0.0, 50)] * 10, MACHINE) == pytest.approx(1.0)
    assert forecast([], MACHINE) == 1.0


def test_who_comes_too_many_waits_until_somebody_has_ended() -> None:
    waited = [3.0 + n / 100 for n in range(1, 51)]
    expected = (10 + area_qoe(waited, READER)) / 11
    first_ten = [stream(0.0, 300)] * 10
    assert forecast([*first_ten, stream(0.0, 50)], MACHINE) == pytest.approx(expected)


@pytest.mark.parametrize("speed", [0.5, 1.0, 5.0, 20.0])
def test_the_rate_chosen_is_where_the_forecast_falls_to_the_target(speed: float) -> None:
    machine = MACHINE.scaled(speed)
    qoe = forecast(load_at(choose_rate(load_at, machine)), machine)
    assert qoe == pytest.approx(TARGET_QOE, abs=0.05)


def test_a_faster_machine_is_sent_more() -> None:
    rates = [choose_rate(load_at, MACHINE.scaled(speed)) for speed in (0.5, 1.0, 2.0)]
    assert rates == sorted(rates)
    assert rates[2] > 1.5 * rates[0]


@pytest.mark.parametrize("speed", [0.6, 1.5])
def test_what_fcfs_fell_to_corrects_a_probe_that_was_wrong(speed: float) -> None:
    truth = MACHINE.scaled(speed)
    rate = choose_rate(load_at, MACHINE)
    seen = forecast(load_at(rate), truth)
    assert not QOE_RANGE[0] <= seen <= QOE_RANGE[1]
    again = correct_rate(load_at, MACHINE, rate, seen)
    nearer = forecast(load_at(again), truth)
    assert abs(nearer - TARGET_QOE) < abs(seen - TARGET_QOE)
    assert (again > rate) == (speed > 1)


def test_fcfs_that_failed_nobody_is_sent_more_and_one_that_failed_all_less() -> None:
    rate = choose_rate(load_at, MACHINE)
    assert correct_rate(load_at, MACHINE, rate, 1.0) > rate
    assert correct_rate(load_at, MACHINE, rate, 0.0) < rate


@pytest.mark.parametrize("rate", [1.0, 4.0, 12.0])
def test_a_window_at_a_rate_has_that_many_requests_of_the_same_lengths(rate) -> None:
    requests = at_rate(WINDOW, rate, WINDOW_S, 3)
    assert len(requests) == pytest.approx(rate * WINDOW_S, rel=0.2)
    lengths = {(r.input_tokens, r.output_tokens) for r in WINDOW}
    assert {(r.input_tokens, r.output_tokens) for r in requests} <= lengths
