"""Start the service of a config file, wait until it answers, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import serve
from ray.serve._private.constants import RAY_SERVE_HAPROXY_CONFIG_FILE_LOC
from ray.serve._private.haproxy import get_haproxy_binary
from ray.serve.handle import DeploymentHandle

from deployments import cluster, readiness
from deployments.environment import SERVING_ENV, STREAMING_ENV
from deployments.model import resolve_source
from deployments.processes import (
    ProcessRef,
    ServiceError,
    end,
    port_is_free,
    processes_with,
    wait_until,
)
from deployments.running import Running, forget, recall, record
from deployments.service_config import (
    DEFAULT_CONFIG,
    LOOPBACK,
    ServiceConfig,
    load_config,
)
from deployments.tiny_model import PROJECT_ROOT
from telemetry.report import EngineReport, from_mapping

RUN_DIR = PROJECT_ROOT / ".run"
RAY_TOKEN_PATH = RUN_DIR / "ray_token"
START_TIMEOUT_S = 600.0
# A Serve that has just been stopped holds its ports for some ten seconds.
PORT_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0
HAPROXY_DIR = Path(RAY_SERVE_HAPROXY_CONFIG_FILE_LOC).parent
HAPROXY_SCRIPT = PROJECT_ROOT / "deployments" / "haproxy.sh"
HAPROXY_PORTS = {
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, to talk to. `config` is what it was started with."""

    config: ServiceConfig

    @property
    def base_url(self) -> str:
        """Of its OpenAI API, ending in `/v1`."""
        return self.config.base_url

    @property
    def model(self) -> str:
        """The model's id, as requests name it."""
        return self.config.args.model.id

    def handle(self) -> DeploymentHandle[Any]:
        """A Serve handle of the replicas."""
        # Serve LLM's rule for the name of a deployment.
        name = self.model.replace("/", "--").replace(".", "_")
        return serve.get_deployment_handle(f"AndesServer:{name}", self.config.app)

    def reports(self) -> dict[str, EngineReport | None]:
        """Each replica's last engine report, by replica id; None before the first."""
        answers = self.handle().broadcast("engine_report").results(timeout_s=30.0)
        return {
            answer["replica_id"]: answer["report"] and from_mapping(answer["report"])
            for answer in answers
        }


@contextmanager
def service(
    config_path: Path = DEFAULT_CONFIG,
    overrides: Mapping[str, Any] | None = None,
    *,
    port: int | None = None,
    host: str | None = None,
    start_timeout_s: float = START_TIMEOUT_S,
    progress: Progress = lambda _: None,
) -> Iterator[Service]:
    """A service that runs for the length of a `with` block; it has written a token.

    Uses the Ray cluster that runs here, else starts one. Afterwards replicas, engines,
    HAProxy and a Ray cluster of its own are gone and the ports free, also when the start
    failed or the block raised. One service at a time and machine.

    Args:
        config_path: A Serve config for `deployments.app:build_app`.
        overrides: Changes of its `args`, such as `{"scheduler": "fcfs"}`; mappings are
            merged, None takes a key away.
        port: HTTP port instead of the file's.
        host: Interface of that port instead of the file's; the loopback one where nobody
            says which, and it starts Ray.
        start_timeout_s: How long to wait for the first token.
        progress: Told in a few words what is being waited for.

    Raises:
        ConfigError: The configuration cannot be served.
        ServiceError: The service did not come up, or not go.
    """
    config = load_config(config_path, overrides, port, host)
    config.authorization()
    resolve_source(config.args.model.source)
    _stop_leftover()
    _require_free_ports(config)
    try:
        _start(config, progress)
        running = Service(config)
        readiness.wait_for_application(config, start_timeout_s, progress)
        progress("waiting for the first token")
        readiness.warm_up(config, running.reports)
        yield running
    finally:
        progress("stopping")
        stop()


def stop() -> bool:
    """Stop the service that was started here; whether there was one.

    Raises:
        ServiceError: Something of it is still there.
    """
    running = recall(RUN_DIR)
    if running is None:
        return False
    _shut_serve_down(running)
    # HAProxy runs apart and can outlive Ray: it would answer 503 to whoever comes next.
    end(processes_with(running.haproxy_mark), STOP_TIMEOUT_S)
    # Serve makes such a folder in the temporary one for each node, and leaves it.
    shutil.rmtree(running.haproxy_mark, ignore_errors=True)
    if running.own_ray:
        cluster.stop(running.own_ray)
    wait_until(
        lambda: not processes_with(running.replica_mark),
        STOP_TIMEOUT_S,
        "replicas are still there",
    )
    for port in running.ports:
        _wait_for_port(port, STOP_TIMEOUT_S, f"port {port} is still held")
    forget(RUN_DIR)
    return True


def _stop_leftover() -> None:
    running = recall(RUN_DIR)
    if running and running.launcher.find():
        raise ServiceError(
            f"a service runs already (process {running.launcher.pid}); `make stop` stops it"
        )
    stop()


def _require_free_ports(config: ServiceConfig) -> None:
    for port in _ports(config):
        hint = next(
            (
                f"set {name}"
                for name, haproxy in _haproxy_ports().items()
                if haproxy == port
            ),
            "choose another with PORT=",
        )
        _wait_for_port(port, PORT_TIMEOUT_S, f"port {port} is in use: free it, or {hint}")


def _wait_for_port(port: int, timeout_s: float, problem: str) -> None:
    wait_until(lambda: port_is_free(port), timeout_s, problem)


def _start(config: ServiceConfig, progress: Progress) -> None:
    RUN_DIR.mkdir(exist_ok=True)
    address, own_ray = cluster.find_running(), None
    cluster.authenticate(None if address else RAY_TOKEN_PATH)
    environ = _environment(config)
    if address is None:
        progress("starting Ray")
        # On a cluster of several nodes, HAProxy asks replicas on the others.
        config.serve["http_options"].setdefault("host", LOOPBACK)
        environ |= cluster.LOCAL_ENV
        environ |= local_counters() if config.args.streaming == "direct" else {}
        own_ray = cluster.start(environ, RUN_DIR / "ray.log")
        address = own_ray.address
    _join(config, address, own_ray)
    _require_empty_serve(config.app, address)
    progress("submitting the application")
    _serve_run(config, address, environ)


def _join(config: ServiceConfig, address: str, own_ray: cluster.OwnRay | None) -> None:
    try:
        cluster.connect(address)
        record(_running(config, address, own_ray), RUN_DIR)
    except BaseException:
        # Nothing is written down yet that would stop it later.
        if own_ray:
            cluster.stop(own_ray)
        raise


def _running(config: ServiceConfig, address: str, own: cluster.OwnRay | None) -> Running:
    return Running(
        launcher=ProcessRef.of(os.getpid()),
        ray_address=address,
        own_ray=own,
        haproxy_mark=f"{HAPROXY_DIR}/{ray.get_runtime_context().get_node_id()}/",
        replica_mark=f"ServeReplica:{config.app}:",
        ports=_ports(config),
    )


def _require_empty_serve(app: str, address: str) -> None:
    # Serve would take down what the config does not name.
    if others := set(serve.status().applications) - {app}:
        forget(RUN_DIR)
        raise ServiceError(
            f"Serve on the Ray cluster {address} already runs {', '.join(sorted(others))}: "
            "it would be replaced"
        )


def _serve_run(config: ServiceConfig, address: str, environ: Mapping[str, str]) -> None:
    path, log_path = RUN_DIR / "serve_config.yaml", RUN_DIR / "serve.log"
    path.write_text(yaml.safe_dump(config.serve, sort_keys=False), encoding="utf-8")
    command = [cluster.script("serve"), "run", "--non-blocking", "--address", address]
    with log_path.open("w") as log:
        result = subprocess.run(
            [*command, str(path)],
            env=environ,
            stdout=log,
            stderr=log,
            check=False,
            start_new_session=True,
        )
    if result.returncode != 0:
        raise ServiceError(f"`serve run` failed; see {log_path}")


def _environment(config: ServiceConfig) -> dict[str, str]:
    environ = {k: v for k, v in os.environ.items() if k not in STREAMING_ENV}
    # Five processes import vLLM: without bytecode each of them compiles it anew.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # A load balancer in front of several nodes needs 30 s to notice; nobody waits here.
    environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "1")
    required = STREAMING_ENV if config.args.streaming == "direct" else {}
    return {**SERVING_ENV, **environ, **required}


def local_counters() -> dict[str, str]:
    """Has Serve call HAProxy by a script that keeps its counters on this machine."""
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(HAPROXY_SCRIPT),
        "ANDES_HAPROXY": get_haproxy_binary(),
    }


def _haproxy_ports() -> dict[str, int]:
    return {name: int(os.environ.get(name, port)) for name, port in HAPROXY_PORTS.items()}


def _ports(config: ServiceConfig) -> tuple[int, ...]:
    haproxy = _haproxy_ports().values() if config.args.streaming == "direct" else ()
    return (config.port, *haproxy)


def _shut_serve_down(running: Running) -> None:
    try:
        if not ray.is_initialized() and cluster.answers(running.ray_address):
            cluster.authenticate(RAY_TOKEN_PATH if running.own_ray else None)
            cluster.connect(running.ray_address)
        if ray.is_initialized():
            serve.shutdown()
    except ServiceError:
        return  # Ray ended in between, and Serve with it.
    finally:
        ray.shutdown()
