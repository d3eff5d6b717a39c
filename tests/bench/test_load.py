import itertools

import numpy as np
import pytest

from bench.errors import UserError
from bench.load import MAX_REQUESTS, BurstShape, cyclic_burst, plan_load
from bench.traces import Request
from qoe import PROFILES, Expectation

SHAPE = BurstShape(rate=50.0, cycle_s=100.0)
CYCLES = 10


def arrivals(shape: BurstShape = SHAPE, *, cycles: float = CYCLES, seed: int = 0):
    load = cyclic_burst(shape, duration_s=cycles * shape.cycle_s, seed=seed)
    return np.array([request.arrival_s for request in load])


def in_burst(times_s, shape: BurstShape = SHAPE):
    phase_s = times_s % shape.cycle_s
    half_s = shape.burst_share * shape.cycle_s / 2
    return np.abs(phase_s - shape.cycle_s / 2) <= half_s


def test_the_same_seed_draws_the_same_load_and_another_does_not() -> None:
    first, again, other = (cyclic_burst(SHAPE, duration_s=20, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_the_mean_rate_over_whole_cycles_is_the_rate_asked_for() -> None:
    times_s = arrivals()
    assert times_s.size == pytest.approx(SHAPE.rate * SHAPE.cycle_s * CYCLES, rel=0.02)
    assert (np.diff(times_s) >= 0).all()
    assert times_s[0] >= 0
    assert times_s[-1] < SHAPE.cycle_s * CYCLES


@pytest.mark.parametrize(
    ("intensity", "burst_share"), [(2.0, 0.35), (1.5, 0.45), (2.5, 0.25)]
)
def test_bursts_carry_intensity_times_their_share_of_the_requests(
    intensity, burst_share
) -> None:
    shape = BurstShape(
        rate=50.0, cycle_s=100.0, intensity=intensity, burst_share=burst_share
    )
    times_s = arrivals(shape)
    share = in_burst(times_s, shape).mean()
    assert share == pytest.approx(intensity * burst_share, rel=0.03)


def test_arrivals_within_a_phase_are_poisson() -> None:
    """Gaps of a Poisson process have a standard deviation equal to their mean."""
    times_s = arrivals()
    gaps_s = np.diff(times_s[in_burst(times_s)])
    gaps_s = gaps_s[gaps_s < 10]
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.05)
    assert gaps_s.mean() == pytest.approx(1 / (SHAPE.intensity * SHAPE.rate), rel=0.05)


def test_bursts_may_take_every_request() -> None:
    shape = BurstShape(rate=50.0, cycle_s=100.0, intensity=2.0, burst_share=0.5)
    assert shape.calm_rate == 0.0
    assert in_burst(arrivals(shape), shape).all()


def test_part_of_a_cycle_has_only_that_part_of_the_requests() -> None:
    calm_s = SHAPE.cycle_s * (1 - SHAPE.burst_share) / 2
    times_s = arrivals(cycles=calm_s / SHAPE.cycle_s)
    assert times_s.size == pytest.approx(SHAPE.calm_rate * calm_s, rel=0.2)
    assert times_s[-1] < calm_s


def test_lengths_have_the_medians_asked_for_and_are_never_empty() -> None:
    shape = BurstShape(rate=50.0, cycle_s=100.0, input_tokens=400, output_tokens=2)
    load = cyclic_burst(shape, duration_s=1000, seed=0)
    inputs = np.array([request.input_tokens for request in load])
    outputs = np.array([request.output_tokens for request in load])
    assert np.median(inputs) == pytest.approx(400, rel=0.03)
    assert np.log(inputs).std() == pytest.approx(shape.input_sigma, rel=0.03)
    assert outputs.min() == 1


def test_bursts_that_exceed_the_mean_rate_are_refused() -> None:
    with pytest.raises(UserError, match=r"--intensity=3 with --burst-share=0\.35"):
        BurstShape(intensity=3.0)


def test_a_load_too_large_to_hold_is_refused() -> None:
    with pytest.raises(UserError, match=f"at most {MAX_REQUESTS:,}"):
        cyclic_burst(BurstShape(rate=10_000), duration_s=1e6, seed=0)


def test_readers_are_drawn_from_the_profile_and_repeat_with_the_seed() -> None:
    requests = [Request(0.0, 1, 1)] * 2000
    first = plan_load(requests, PROFILES["reading"], seed=1)
    assert first == plan_load(requests, PROFILES["reading"], seed=1)
    paces = [stream.expectation.tds for stream in first.streams]
    assert set(paces) == {tds for _, tds in PROFILES["reading"].mix}
    assert paces.count(4.35) / len(paces) == pytest.approx(0.52, abs=0.04)


def test_an_expectation_given_by_hand_replaces_the_profile_value_by_value() -> None:
    requests = [Request(0.0, 1, 1)] * 50
    both = plan_load(requests, PROFILES["reading"], ttft_s=0.3, tds=20.0)
    assert {s.expectation for s in both.streams} == {Expectation(0.3, 20.0)}
    one = plan_load(requests, PROFILES["none"], ttft_s=0.3)
    assert {s.expectation for s in one.streams} == {Expectation(0.3, 0.1)}


@pytest.mark.parametrize(
    ("context", "output", "expected"),
    [
        pytest.param(None, None, (100, 50), id="no limit"),
        pytest.param(150, None, (100, 50), id="just fits"),
        pytest.param(149, None, (99, 50), id="prompt first"),
        pytest.param(51, None, (1, 50), id="prompt down to one token"),
        pytest.param(20, None, (1, 19), id="then the answer"),
        pytest.param(None, 10, (100, 10), id="output limit alone"),
        pytest.param(105, 10, (95, 10), id="both limits"),
    ],
)
def test_requests_too_long_are_clipped_and_counted(context, output, expected) -> None:
    load = plan_load(
        [Request(0.0, 100, 50), Request(1.0, 1, 1)],
        PROFILES["reading"],
        max_context_tokens=context,
        max_output_tokens=output,
    )
    first, untouched = load.streams
    assert (first.input_tokens, first.output_tokens) == expected
    assert (untouched.input_tokens, untouched.output_tokens) == (1, 1)
    assert load.clipped == (expected != (100, 50))


def test_arrivals_are_left_alone() -> None:
    requests = [Request(float(i), 1, 1) for i in range(5)]
    planned = plan_load(requests, PROFILES["listening"]).streams
    assert all(
        a.arrival_s == b.arrival_s for a, b in itertools.zip_longest(requests, planned)
    )


def test_a_ttft_rule_sees_the_prompt_as_it_is_sent() -> None:
    load = plan_load(
        [Request(0.0, 900, 10), Request(1.0, 30, 10)],
        PROFILES["reading"],
        ttft_s=lambda input_tokens: input_tokens / 100,
        max_context_tokens=210,
    )
    assert [s.expectation.ttft_s for s in load.streams] == [2.0, 0.3]
