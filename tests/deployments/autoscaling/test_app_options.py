"""The options of an app that scales itself."""

from __future__ import annotations

from typing import Any

import pytest
from ray.serve._private.config import DeploymentConfig

from deployments.app import llm_config
from deployments.config import AppArgs
from deployments.config_errors import ConfigError
from deployments.service_config import load_config


def shipped(**overrides: Any) -> AppArgs:
    return load_config(overrides={"accelerator": "cpu"} | overrides).args


def test_the_shipped_config_keeps_its_number_of_replicas() -> None:
    options = llm_config(shipped()).deployment_config
    assert options["num_replicas"] == 2
    assert "autoscaling_config" not in options


def test_an_autoscaling_app_starts_where_it_is_told() -> None:
    args = shipped(autoscaling={"max_replicas": 4, "down_after_s": 10})
    options = llm_config(args).deployment_config
    scaling = DeploymentConfig(**options).autoscaling_config
    assert scaling is not None
    assert (scaling.min_replicas, scaling.initial_replicas, scaling.max_replicas) == (
        1,
        2,
        4,
    )
    assert scaling.policy.policy_kwargs == {"down_after_s": 10.0}
    assert "num_replicas" not in options


@pytest.mark.parametrize(
    ("autoscaling", "said"),
    [
        ({"max": 3}, r"args\.autoscaling\.max=3 is unknown.*max_replicas"),
        ({"min_replicas": 0}, r"args\.autoscaling\.min_replicas=0 is invalid"),
        ({"min_replicas": 3}, r"replicas=2 is invalid.*autoscaling\.min_replicas=3"),
        ({"down_margin": 1.0}, r"args\.autoscaling\.down_margin=1\.0"),
        ({"min_replicas": 9, "max_replicas": 3}, r"max_replicas=3 is invalid"),
    ],
)
def test_a_bad_autoscaling_key_is_named_before_anything_starts(
    autoscaling: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        shipped(autoscaling=autoscaling)
