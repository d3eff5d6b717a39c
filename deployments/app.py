"""The application of `serve_config.yaml`: an LLM deployment of Ray Serve, Andes inside."""

from __future__ import annotations

from typing import Any

from ray.serve.config import RequestRouterConfig
from ray.serve.deployment import Application
from ray.serve.llm import LLMConfig, build_openai_app

from deployments.access.guard import AccessSettings
from deployments.access.keys import load_keys
from deployments.autoscaling import autoscaling_options
from deployments.config import AppArgs
from deployments.engine import (
    engine_env,
    engine_kwargs,
    require_engine_kwargs,
    resolve_accelerator,
)
from deployments.environment import (
    require_client_addresses,
    require_streaming_environment,
)
from deployments.llm_router import serve_router
from deployments.model import is_local, resolve_source
from deployments.server import (
    ACCESS_KEY,
    ENGINE_TIMEOUT_KEY,
    KEEP_ALIVE_KEY,
    AndesServer,
    LocalModel,
)
from scheduler.settings import SETTINGS_ENV

# Dotted paths: the engine and Serve's routers import them in their own processes.
SCHEDULER_CLASS = "scheduler.andes.AndesScheduler"
ROUTER_CLASSES = {
    "qoe": "router.request_router.QoERequestRouter",
    "pow2": (
        "ray.serve._private.request_router.pow_2_router.PowerOfTwoChoicesRequestRouter"
    ),
    "round_robin": "ray.serve.experimental.round_robin_router.RoundRobinRouter",
}
ROUTING_STATS_PERIOD_S = 1.0
SERVE_SLACK = 2
# Serve replaces a replica after three failures. It answers for itself, whatever its engine
# computes, so one that does not answer is not busy.
HEALTH_CHECK_PERIOD_S, HEALTH_CHECK_TIMEOUT_S = 2.0, 10.0


def build_app(args: dict[str, Any] | AppArgs) -> Application:
    """The Serve application of `args`, checked before anything is started.

    Raises:
        ConfigError: Unknown, missing or bad arguments, or an environment that
            contradicts them; the message names each and says what is allowed.
    """
    parsed = args if isinstance(args, AppArgs) else AppArgs.parse(args)
    require_engine_kwargs(parsed.engine_kwargs)
    require_streaming_environment(parsed.streaming)
    if parsed.share_by == "address":
        require_client_addresses()
    load_keys(parsed.api_keys_file, parsed.caps.caps())
    serving: dict[str, Any] = {"llm_configs": [llm_config(parsed)]}
    if parsed.streaming == "handle":
        serving |= ingress_options(parsed)
    else:
        serve_router()
    return build_openai_app(serving)


def ingress_options(args: AppArgs) -> dict[str, Any]:
    """What Serve LLM is told of the ingress of the handle path."""
    from deployments.ingress import (  # noqa: PLC0415 - imports vLLM
        ResumingIngress,
        serve_feedback,
    )

    serve_feedback()
    return {
        "ingress_deployment_config": {
            "num_replicas": args.ingress_replicas,
            "graceful_shutdown_timeout_s": args.graceful_shutdown_timeout_s,
        },
        "ingress_cls_config": {
            "ingress_cls": ResumingIngress,
            "ingress_extra_kwargs": {
                "max_continuations": args.max_continuations,
                "resume_timeout_s": args.resume_timeout_s,
                "default_expectation": args.default_profile,
                "keep_alive_interval_s": args.keep_alive_interval_s,
                "access": AccessSettings.of(args),
            },
        },
    }


def llm_config(args: AppArgs) -> LLMConfig:
    """What Serve LLM is told, for one model."""
    accelerator = resolve_accelerator(args.accelerator)
    source = resolve_source(args.model.source)
    env = engine_env(accelerator, args.engine_env, args.engine_kwargs)
    # The bundle of a worker carries the CPUs; the replica shares the first one.
    bundle = {"CPU": args.num_cpus} | ({"GPU": 1} if accelerator == "gpu" else {})
    return LLMConfig(
        model_loading_config={"model_id": args.model.id, "model_source": source},
        accelerator_config={"kind": accelerator},
        accelerator_type=args.accelerator_type,
        placement_group_config={"bundle_per_worker": bundle},
        engine_kwargs=engine_kwargs(accelerator, args.engine_kwargs)
        | {
            "scheduler_cls": SCHEDULER_CLASS,
            "max_num_queued_reqs": args.max_ongoing_requests,
        },
        runtime_env={
            "env_vars": env | {SETTINGS_ENV: args.scheduler_settings.model_dump_json()}
        },
        server_cls=AndesServer,
        deployment_config=_deployment_config(args),
        experimental_configs={
            "stream_batching_interval_ms": 0,
            KEEP_ALIVE_KEY: args.keep_alive_interval_s,
            ACCESS_KEY: AccessSettings.of(args).model_dump(),
            ENGINE_TIMEOUT_KEY: args.engine_timeout_s,
        },
        callback_config={"callback_class": LocalModel} if is_local(source) else {},
    )


def _deployment_config(args: AppArgs) -> dict[str, Any]:
    return {
        **_number_of_replicas(args),
        # The engine's own limit answers; beyond Serve's, requests would wait in silence.
        "max_ongoing_requests": SERVE_SLACK * args.max_ongoing_requests,
        "graceful_shutdown_timeout_s": args.graceful_shutdown_timeout_s,
        "ray_actor_options": {"num_cpus": 0},
        "health_check_period_s": HEALTH_CHECK_PERIOD_S,
        "health_check_timeout_s": HEALTH_CHECK_TIMEOUT_S,
        "request_router_config": RequestRouterConfig(
            request_router_class=ROUTER_CLASSES[args.router],
            request_router_kwargs=args.router_kwargs,
            request_routing_stats_period_s=ROUTING_STATS_PERIOD_S,
        ),
    }


def _number_of_replicas(args: AppArgs) -> dict[str, Any]:
    if args.autoscaling is None:
        return {"num_replicas": args.replicas}
    return autoscaling_options(args.autoscaling, args.replicas)
