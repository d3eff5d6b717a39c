"""When a started service is ready: every replica has answered with a token."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
from ray import serve
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, ReplicaState

from deployments.config_errors import ConfigError
from deployments.processes import ServiceError
from deployments.service_config import ServiceConfig
from telemetry.report import EngineReport

POLL_S = 0.5
# The first request of an engine waits for what vLLM loads late, and for a busy machine.
REQUEST_TIMEOUT_S = 120.0
WARM_UP_ROUNDS = 10
CONFIG_ERROR_MARK = f"{ConfigError.__module__}.{ConfigError.__qualname__}: "
LOG_HINT = "/tmp/ray/session_latest/logs/serve"


def wait_for_application(
    config: ServiceConfig, timeout_s: float, progress: Callable[[str], None]
) -> None:
    """Wait until Serve says that the application runs.

    Raises:
        ConfigError: The application refused its configuration.
        ServiceError: It failed for another reason, or takes longer than `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        overview = serve.status().applications.get(config.app)
        if overview is not None:
            if overview.status == ApplicationStatus.RUNNING:
                return
            if overview.status == ApplicationStatus.DEPLOY_FAILED:
                raise failure_of(overview)
            progress(progress_of(overview))
        time.sleep(POLL_S)
    raise ServiceError(f"no replica is ready after {timeout_s:.0f} s; see {LOG_HINT}")


def warm_up(
    config: ServiceConfig, reports: Callable[[], Mapping[str, EngineReport | None]]
) -> None:
    """Have every replica write a token: the first one of each is slow.

    Raises:
        ServiceError: A request failed.
    """
    replicas = config.args.replicas
    with ThreadPoolExecutor(replicas) as pool:
        for _ in range(WARM_UP_ROUNDS):
            for answered in [pool.submit(_ask, config) for _ in range(replicas)]:
                answered.result()
            if all(reports().values()):
                return


def _ask(config: ServiceConfig) -> None:
    request = {"model": config.args.model.id, "prompt": "Hello", "max_tokens": 1}
    url = f"{config.base_url}/completions"
    deadline_s = time.monotonic() + REQUEST_TIMEOUT_S
    with httpx.Client(
        trust_env=False, timeout=REQUEST_TIMEOUT_S, headers=config.authorization()
    ) as client:
        while True:
            # HAProxy learns of the replicas a moment after Serve says that they run.
            problem = _problem(client, url, request)
            if problem is None:
                return
            if time.monotonic() > deadline_s:
                raise ServiceError(f"{url} does not answer: {problem}; see {LOG_HINT}")
            time.sleep(POLL_S)


def _problem(client: httpx.Client, url: str, request: Mapping[str, object]) -> str | None:
    try:
        response = client.post(url, json=request)
    except httpx.TransportError as error:
        return repr(error)
    return None if response.is_success else f"{response.status_code} {response.text}"


def progress_of(overview: ApplicationStatusOverview) -> str:
    """What an application that is not there yet is doing, in a few words."""
    counts = [
        f"{name} {replicas.get(ReplicaState.RUNNING, 0)}/{sum(replicas.values())}"
        for name, deployment in overview.deployments.items()
        if (replicas := deployment.replica_states)
    ]
    return f"starting {', '.join(counts)}" if counts else "building the application"


def failure_of(overview: ApplicationStatusOverview) -> ConfigError | ServiceError:
    """Why it did not start; the reason alone if its configuration is at fault."""
    messages = [overview.message, *(d.message for d in overview.deployments.values())]
    text = "\n".join(message for message in messages if message).strip()
    _, mark, refusal = text.partition(CONFIG_ERROR_MARK)
    if mark:
        return ConfigError(refusal.strip())
    last_lines = "\n".join(text.splitlines()[-15:])
    return ServiceError(f"the application did not start; see {LOG_HINT}\n{last_lines}")
