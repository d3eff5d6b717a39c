import random

import pytest

from scheduler.step_time import StepTimeModel


def test_base_streams_and_prefill_are_told_apart() -> None:
    rng, model = random.Random(1), StepTimeModel()
    for _ in range(600):
        prefill_tokens = rng.choice([0, 0, 0, 200, 1500])
        num_streams = rng.randint(5, 60)
        noise_s = rng.uniform(-2e-4, 2e-4)
        step_s = 0.01 + 2e-4 * num_streams + 3e-5 * prefill_tokens + noise_s
        model.observe(step_s, prefill_tokens, num_streams)
    fitted = model.fitted()
    assert fitted.base_s == pytest.approx(0.01, rel=0.1)
    assert fitted.per_stream_s == pytest.approx(2e-4, rel=0.1)
    assert fitted.prefill_s_per_token == pytest.approx(3e-5, rel=0.1)
    assert fitted.step_s(20, 100) == pytest.approx(0.017, rel=0.05)


def test_a_batch_that_stands_still_costs_nothing_per_stream() -> None:
    model = StepTimeModel()
    for _ in range(100):
        model.observe(0.02, 0, 30)
    assert model.fitted().step_s(30) == pytest.approx(0.02)
    assert model.fitted().per_stream_s == pytest.approx(0.0, abs=1e-9)


def test_an_engine_that_never_prefills_keeps_the_guess_for_prefill() -> None:
    model = StepTimeModel(initial_prefill_s=1e-4)
    for _ in range(100):
        model.observe(0.02, 0, 8)
    assert model.fitted().prefill_s_per_token == 1e-4
    assert model.step_s == pytest.approx(0.02)


def test_a_larger_batch_is_never_faster() -> None:
    model = StepTimeModel()
    for num_streams in [10, 50] * 100:
        model.observe(0.03 - 2e-4 * num_streams, 0, num_streams)
    fitted = model.fitted()
    assert fitted.base_s > 0
    assert fitted.per_stream_s == 0.0


def test_a_stall_of_the_host_moves_the_estimate_only_a_little() -> None:
    model = StepTimeModel()
    for _ in range(200):
        model.observe(0.01, 0, 8)
    model.observe(60.0, 0, 8)
    assert model.step_s < 0.02


def test_the_model_follows_an_engine_that_changes() -> None:
    model = StepTimeModel()
    for step_s in [0.01] * 300 + [0.03] * 300:
        model.observe(step_s, 0, 8)
    assert model.step_s == pytest.approx(0.03, rel=0.05)
