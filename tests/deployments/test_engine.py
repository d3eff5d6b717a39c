"""What vLLM would refuse in a replica is refused before one starts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deployments.config_errors import ConfigError
from deployments.engine import (
    engine_env,
    engine_kwargs,
    require_engine_kwargs,
    resolve_accelerator,
)


def test_arguments_of_the_engine_and_its_front_end_are_accepted() -> None:
    require_engine_kwargs(
        {
            "max_model_len": 4096,
            "dtype": "bfloat16",
            "gpu_memory_utilization": 0.9,
            "block_size": None,
            "compilation_config": {"mode": 0},
            "enable_auto_tool_choice": True,
        }
    )


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        (
            {"max_modellen": 1},
            "args.engine_kwargs.max_modellen=1 is unknown.*max_model_len",
        ),
        ({"zzz": "a"}, "args.engine_kwargs.zzz='a' is unknown"),
        ({"max_num_seqs": "many"}, "args.engine_kwargs.max_num_seqs='many'.*integer"),
        ({"enforce_eager": "yes"}, "args.engine_kwargs.enforce_eager='yes'.*boolean"),
        ({"dtype": "float33"}, "args.engine_kwargs.dtype='float33'.*'float32'"),
        ({"scheduler_cls": "x.Y"}, "args.engine_kwargs.scheduler_cls='x.Y'.*`scheduler`"),
        ({"model": "gpt"}, "args.engine_kwargs.model='gpt'.*`model.source`"),
        (
            {"max_num_queued_reqs": 9},
            "args.engine_kwargs.max_num_queued_reqs=9.*`max_ongoing_requests`",
        ),
        (
            {"sse_keep_alive_interval": 1},
            "args.engine_kwargs.sse_keep_alive_interval=1.*`keep_alive_interval_s`",
        ),
        ({"data_parallel_size": 2}, "args.engine_kwargs.data_parallel_size=2.*`replicas`"),
    ],
)
def test_an_argument_vllm_would_refuse_is_named_with_its_value(
    kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        require_engine_kwargs({"max_model_len": 4096, **kwargs})
    assert re.fullmatch(f"{said}.*", str(caught.value))


def test_a_cpu_engine_gets_what_it_needs_and_the_user_has_the_last_word() -> None:
    assert engine_kwargs("cpu", {})["enforce_eager"] is True
    assert engine_kwargs("cpu", {"dtype": "bfloat16"})["dtype"] == "bfloat16"
    assert engine_env("cpu", {}, {})["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert engine_env("cpu", {"OMP_NUM_THREADS": "4"}, {})["OMP_NUM_THREADS"] == "4"


def test_the_size_of_the_kv_cache_is_said_once() -> None:
    """vLLM's variable beats its argument, which would silently do nothing."""
    env = engine_env("cpu", {}, {"kv_cache_memory_bytes": 1 << 24})
    assert "VLLM_CPU_KVCACHE_SPACE" not in env


def test_a_gpu_engine_is_left_alone() -> None:
    assert engine_kwargs("gpu", {"dtype": "auto"}) == {"dtype": "auto"}
    assert engine_env("gpu", {"A": "b"}, {}) == {"A": "b"}


def test_a_chosen_accelerator_is_taken() -> None:
    assert resolve_accelerator("gpu") == "gpu"
    assert resolve_accelerator("cpu") == "cpu"
