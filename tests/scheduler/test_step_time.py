import random

import pytest

from scheduler.step_time import StepTimeModel


def test_base_and_prefill_cost_are_told_apart() -> None:
    rng, model = random.Random(1), StepTimeModel()
    for _ in range(400):
        prefill_tokens = rng.choice([0, 0, 0, 200, 1500])
        model.observe(0.01 + 3e-5 * prefill_tokens + rng.uniform(0, 1e-3), prefill_tokens)
    assert model.step_s == pytest.approx(0.0105, rel=0.1)
    assert model.prefill_s_per_token == pytest.approx(3e-5, rel=0.1)


def test_an_engine_that_never_prefills_keeps_the_guess_for_prefill() -> None:
    model = StepTimeModel(initial_prefill_s=1e-4)
    for _ in range(100):
        model.observe(0.02, 0)
    assert model.prefill_s_per_token == 1e-4
    assert model.step_s == pytest.approx(0.02)


def test_a_stall_of_the_host_moves_the_estimate_only_a_little() -> None:
    model = StepTimeModel()
    for _ in range(200):
        model.observe(0.01, 0)
    model.observe(60.0, 0)
    assert model.step_s < 0.02


def test_the_model_follows_an_engine_that_changes() -> None:
    model = StepTimeModel()
    for step_s in [0.01] * 300 + [0.03] * 300:
        model.observe(step_s, 0)
    assert model.step_s == pytest.approx(0.03, rel=0.02)
