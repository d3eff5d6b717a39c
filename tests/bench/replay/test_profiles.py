import json
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.replay.profiles import (
    DEFAULT_PROFILE,
    PATH,
    StepLimits,
    latency_profile,
    latency_profiles,
)

SHARED = Path(__file__).parents[4] / "shared" / "data" / "latency_profiles.json"


def test_the_constants_are_those_of_the_shared_data() -> None:
    if not SHARED.exists():
        pytest.skip(f"the shared data is not beside the project: no {SHARED.name}")
    assert json.loads(PATH.read_text()) == json.loads(SHARED.read_text())


def test_every_profile_says_how_far_to_trust_it() -> None:
    assert DEFAULT_PROFILE in latency_profiles()
    for name, profile in latency_profiles().items():
        assert profile.kind, name
        assert profile.confidence, name
        assert profile.kv_capacity_tokens > 0, name


def test_a_step_costs_what_the_mixed_formula_says() -> None:
    profile = latency_profile("llama-3.1-8b/h100-sxm-80gb/tp1")
    decode_ms = 6.7701 + 0.06997 * 10 + 4.307e-05 * 5000
    prefill_ms = 0.016139 * 700 + 7.961e-07 * 700**2
    step_s = profile.cost.step_s(10, 700, context_tokens=5000, prefill_tokens2=700**2)
    assert step_s == pytest.approx((decode_ms + prefill_ms) / 1000)


def test_loading_kv_costs_what_the_profile_estimates() -> None:
    profile = latency_profile("llama-3.1-8b/h100-sxm-80gb/tp1")
    assert 1000 * profile.transfer_s_per_token == pytest.approx(2.621e-3)


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("llama-3.1-8b/h100-sxm-80gb/tp1", StepLimits(1024, 8192)),
        ("llama-3.1-8b/h200-sxm-141gb/tp1", StepLimits(1024, 8192)),
        ("llama-3.1-8b/a100-sxm4-80gb/tp1", StepLimits(256, 2048)),
        ("phi-3-mini/a100-sxm4-40gb/tp1", StepLimits(256, 2048)),
    ],
)
def test_a_gpu_has_the_limits_that_vllm_gives_it(name, limits) -> None:
    assert latency_profile(name).limits == limits


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="--profile=gpt is invalid") as refused:
        latency_profile("gpt")
    for name in latency_profiles():
        assert name in str(refused.value)
