"""What the fit must find in a log of steps, whatever the host did to some of them."""

from dataclasses import astuple

import numpy as np
import pytest

from bench.fidelity.fit import STALL, fit_cost, scaled, slowdown
from bench.fidelity.steps import Step
from bench.replay.cost import StepCost, StepWork

TRUE = StepCost(
    base_s=1.3e-3,
    per_stream_s=5e-5,
    per_context_token_s=6e-8,
    per_prefill_token_s=6e-6,
    per_prefill_token2_s=6e-9,
)


def drawn_work(rng: np.random.Generator) -> StepWork:
    decoding = int(rng.integers(1, 33))
    context = int(rng.integers(50, 1500, decoding).sum())
    prompt = int(rng.integers(20, 2000)) if rng.random() < 0.1 else 0
    return StepWork(decoding, prompt, context, prompt**2)


def steps_of(cost: StepCost, *, noise: float = 0.0, stalls: float = 0.0) -> list[Step]:
    rng = np.random.default_rng(3)
    steps = []
    for _ in range(6000):
        work = drawn_work(rng)
        seconds = cost.step_s(*work) * rng.lognormal(0.0, noise)
        if rng.random() < stalls:
            seconds += rng.uniform(0.02, 0.4)
        steps.append(Step(seconds, work))
    return steps


def test_steps_without_noise_give_the_constants_they_were_made_of() -> None:
    fit = fit_cost(steps_of(TRUE))
    assert astuple(fit.typical) == pytest.approx(astuple(TRUE), rel=1e-6)
    assert fit.slowdown == pytest.approx(1.0)


def test_noise_and_stalls_do_not_bend_the_constants() -> None:
    fit = fit_cost(steps_of(TRUE, noise=0.08, stalls=0.02))
    assert astuple(fit.typical) == pytest.approx(astuple(TRUE), rel=0.08)


def test_the_cost_takes_as_long_in_all_as_the_steps_did() -> None:
    steps = steps_of(TRUE, noise=0.08, stalls=0.01)
    cost = fit_cost(steps).cost
    took_s = sum(min(s.seconds, STALL * TRUE.step_s(*s.work)) for s in steps)
    assert sum(cost.step_s(*s.work) for s in steps) == pytest.approx(took_s, rel=0.01)


def test_one_endless_stall_is_no_slow_engine() -> None:
    steps = steps_of(TRUE)
    steps[100] = Step(3600.0, steps[100].work)
    assert fit_cost(steps).slowdown == pytest.approx(1.0, abs=0.02)


def test_a_cost_that_would_be_negative_is_none_at_all() -> None:
    falling = [Step(0.01 - 1e-4 * n, StepWork(n, 0, 100 * n, 0)) for n in range(1, 50)]
    cost = fit_cost(falling).typical
    assert min(astuple(cost)) == 0.0
    assert cost.base_s == pytest.approx(0.0075, rel=0.05)


def test_what_no_step_did_costs_nothing() -> None:
    decoding = [s for s in steps_of(TRUE) if not s.work.prefill_tokens]
    cost = fit_cost(decoding).typical
    assert (cost.per_prefill_token_s, cost.per_prefill_token2_s) == (0.0, 0.0)
    assert cost.per_stream_s == pytest.approx(TRUE.per_stream_s)


def test_a_slower_host_is_seen_in_the_slowdown() -> None:
    assert slowdown(TRUE, steps_of(scaled(TRUE, 1.25))) == pytest.approx(1.25)


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="4 steps are too few"):
        fit_cost(steps_of(TRUE)[:4])
