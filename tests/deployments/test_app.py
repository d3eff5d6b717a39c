"""What Serve LLM is told follows from the args; what contradicts them starts nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ray._common.utils import import_attr
from ray.serve._private.config import DeploymentConfig

from deployments.app import (
    ROUTER_CLASSES,
    SCHEDULER_CLASS,
    build_app,
    ingress_options,
    llm_config,
)
from deployments.config import AppArgs
from deployments.config_errors import ConfigError
from deployments.server import KEEP_ALIVE_KEY, AndesServer, LocalModel
from deployments.service_config import load_config
from deployments.tiny_model import TINY_MODEL_DIR
from scheduler.settings import SETTINGS_ENV, SchedulerSettings


def shipped(**overrides: Any) -> AppArgs:
    return load_config(overrides={"accelerator": "cpu"} | overrides).args


@pytest.mark.parametrize("path", [SCHEDULER_CLASS, *ROUTER_CLASSES.values()])
def test_what_is_named_by_path_can_be_imported(path: str) -> None:
    assert isinstance(import_attr(path), type)


@pytest.mark.parametrize("policy", ["andes", "fcfs"])
def test_both_policies_are_one_scheduler_class_told_apart_in_the_environment(
    policy: str,
) -> None:
    config = llm_config(shipped(scheduler=policy))
    assert config.engine_kwargs["scheduler_cls"] == SCHEDULER_CLASS
    assert config.runtime_env is not None
    settings = json.loads(config.runtime_env["env_vars"][SETTINGS_ENV])
    assert SchedulerSettings(**settings).policy == policy


def test_a_token_is_not_held_back_to_make_a_batch() -> None:
    assert llm_config(shipped()).experimental_configs["stream_batching_interval_ms"] == 0


@pytest.mark.parametrize("router", ROUTER_CLASSES)
def test_every_router_gets_a_report_each_second(router: str) -> None:
    options = llm_config(shipped(router=router)).deployment_config
    config = options["request_router_config"]
    assert config.request_routing_stats_period_s == 1.0
    assert config.request_router_class.rsplit(".", 1)[1] in ROUTER_CLASSES[router]


def test_the_engine_decides_who_waits_and_who_is_refused_and_serve_does_not() -> None:
    args = shipped()
    config = llm_config(args)
    limit = config.engine_kwargs["max_num_queued_reqs"]
    assert limit >= 10 * args.engine_kwargs["max_num_seqs"]
    assert config.deployment_config["max_ongoing_requests"] >= 2 * limit
    assert (
        llm_config(shipped(max_ongoing_requests=7)).engine_kwargs["max_num_queued_reqs"]
        == 7
    )


@pytest.mark.parametrize("autoscaling", [None, {"max_replicas": 4}])
def test_a_replica_that_is_to_go_has_fifteen_minutes_for_its_streams(
    autoscaling: dict[str, Any] | None,
) -> None:
    options = llm_config(shipped(autoscaling=autoscaling)).deployment_config
    assert DeploymentConfig(**options).graceful_shutdown_timeout_s == 900.0
    args = shipped(autoscaling=autoscaling, graceful_shutdown_timeout_s=60)
    options = llm_config(args).deployment_config
    assert options["graceful_shutdown_timeout_s"] == 60.0


def test_so_has_the_ingress_of_the_handle_path() -> None:
    options = ingress_options(shipped(streaming="handle"))["ingress_deployment_config"]
    assert DeploymentConfig(**options).graceful_shutdown_timeout_s == 900.0


@pytest.mark.parametrize("interval_s", [3.0, None])
def test_either_path_is_told_how_long_a_stream_may_be_silent(
    interval_s: float | None,
) -> None:
    given = {} if interval_s == 3.0 else {"keep_alive_interval_s": None}
    model = {"id": "tiny", "source": str(TINY_MODEL_DIR)}
    args = AppArgs.parse({"model": model, "accelerator": "cpu"} | given)
    assert llm_config(args).experimental_configs[KEEP_ALIVE_KEY] == interval_s
    options = ingress_options(args)["ingress_cls_config"]["ingress_extra_kwargs"]
    assert options["keep_alive_interval_s"] == interval_s


def test_a_local_model_is_served_without_a_download() -> None:
    config = llm_config(shipped())
    assert config.model_loading_config.model_source == str(TINY_MODEL_DIR)
    assert config.callback_config.callback_class is LocalModel
    assert config.server_cls is AndesServer


def test_a_replica_asks_ray_for_one_bundle_a_worker() -> None:
    gpu = llm_config(shipped(accelerator="gpu", accelerator_type="H100"))
    assert gpu.get_engine_config().placement_bundles == [
        {"CPU": 1.0, "GPU": 1, "accelerator_type:H100": 0.001}
    ]
    config = llm_config(shipped(num_cpus=0.5))
    assert config.get_engine_config().placement_bundles == [{"CPU": 0.5}]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"replica": 1}, r"args\.replica=1"),
        ({"engine_kwargs": {"max_modellen": 1}}, r"args\.engine_kwargs\.max_modellen=1"),
        ({"streaming": "direct"}, "RAY_SERVE_ENABLE_HA_PROXY=1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    args: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)
    model = {"id": "tiny", "source": ".run/tiny-llama"}
    with pytest.raises(ConfigError, match=said):
        build_app({"model": model, **args})
