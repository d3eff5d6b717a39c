"""The nodes of `k8s/overlays/dev` without Kubernetes: a head without work, a worker, Redis.

Both run on loopback with the variables, the user and the mounts of the pods, started as
KubeRay starts them. A head that ends comes back with the same command, as its pod does.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deployments.access.keys import KEYS_ENV
from deployments.cluster import script
from deployments.k8s import OVERLAYS, RENDERED_FILE
from deployments.processes import (
    end,
    free_port,
    port_is_free,
    processes_of_session,
    processes_with,
    wait_until,
)
from deployments.tiny_model import ensure_tiny_model

REPO = Path(__file__).parents[3]
POD = Path(__file__).with_name("pod.sh")
# KubeRay adds it to what the manifests mount.
SHARED_MEMORY = "/dev/shm"
HOST = "127.0.0.1"
API_KEY = "of-the-tests-of-a-cluster"
START_TIMEOUT_S, DEPLOY_TIMEOUT_S, GRACE_S = 180.0, 420.0, 5.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/k8s/cluster/" in item.nodeid:
            item.add_marker(pytest.mark.service)
            item.add_marker(pytest.mark.nightly)
            # The first test waits for the start.
            item.add_marker(pytest.mark.timeout(780))


@dataclass
class Process:
    """A command in a session of its own, with everything it starts."""

    command: list[str]
    environ: dict[str, str]
    log: Path
    pid: int = 0

    def start(self) -> None:
        with self.log.open("a") as log:
            self.pid = subprocess.Popen(
                self.command,
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).pid

    def stop(self, grace_s: float = GRACE_S) -> None:
        end(processes_of_session(self.pid), grace_s)


@dataclass
class Cluster:
    """A head and a worker of Ray, and how an operator or a client talks to them."""

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    ports: dict[str, int] = field(default_factory=dict)
    proxy_nodes: set[str] = field(default_factory=set)
    has_redis: bool = field(
        default_factory=lambda: shutil.which("redis-server") is not None
    )

    def __post_init__(self) -> None:
        self.client = httpx.Client(trust_env=False, timeout=60.0)
        self.redis = self._process("redis", self._redis_command(), {})
        redis = f"{HOST}:{self.port('redis')}"
        remembering = {
            "RAY_REDIS_ADDRESS": redis,
            "RAY_external_storage_namespace": "andes",
        }
        self.head = self._process(
            "head", self._ray_command("head"), remembering if self.has_redis else {}
        )
        self.worker = self._process(
            "worker",
            self._ray_command("worker"),
            {
                # Proxies of two nodes on one machine.
                "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(self.port("requests")),
                "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
            },
        )

    def port(self, name: str) -> int:
        """A port of that name, free when it is first asked for."""
        return self.ports.setdefault(name, free_port())

    def url(self, name: str, path: str) -> str:
        return f"http://{HOST}:{self.port(name)}{path}"

    def _process(self, name: str, command: list[str], extra: dict[str, str]) -> Process:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environ |= {
            **pod_variables(),
            "POD_MOUNTS": " ".join(pod_folders()),
            "PYTHONPATH": str(REPO),
            KEYS_ENV: API_KEY,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(self.port(f"{name}-haproxy-metrics")),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(self.port(f"{name}-haproxy-stats")),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
            **extra,
        }
        return Process(command, environ, self.folder / f"{name}.log")

    def _redis_command(self) -> list[str]:
        command = ["redis-server", "--port", str(self.port("redis")), "--bind", HOST]
        return [*command, "--dir", str(self.folder), "--requirepass", self.token]

    def _ray_command(self, role: str) -> list[str]:
        command = [str(POD), script("ray"), "start", "--block"]
        command += [f"--node-ip-address={HOST}"]
        if role == "head":
            command += [
                *("--head", f"--port={self.port('gcs')}", f"--temp-dir={self.folder}/r"),
                *("--num-cpus=0", "--num-gpus=0", "--disable-usage-stats"),
                f"--dashboard-port={self.port('dashboard')}",
                *([f"--redis-password={self.token}"] if self.has_redis else []),
            ]
        else:
            command += [f"--address={HOST}:{self.port('gcs')}", "--num-cpus=2"]
        return [
            *command,
            f"--dashboard-agent-listen-port={self.port(f'{role}-agent')}",
            f"--metrics-export-port={self.port(f'{role}-metrics')}",
            "--object-store-memory=134217728",
        ]

    def deploy(self, serve: dict[str, Any]) -> None:
        path = self.folder / "serve.yaml"
        path.write_text(yaml.safe_dump(serve))
        command = [script("serve"), "deploy", str(path), "-a", self.url("dashboard", "")]
        run = subprocess.run(
            command, env=self.head.environ, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr

    def application(self) -> dict[str, Any]:
        """What the operator is told of the application; {} while nobody answers."""
        try:
            answer = self.client.get(
                self.url("dashboard", "/api/serve/applications/"),
                headers={"Authorization": f"Bearer {self.token}"},
            )
        except httpx.HTTPError:
            return {}
        if answer.status_code != 200:
            return {}
        told = answer.json()
        self.proxy_nodes |= told["proxies"].keys()
        found: dict[str, Any] = told["applications"].get("andes", {})
        return found

    def is_running(self) -> bool:
        application = self.application()
        status = application.get("status")
        assert status != "DEPLOY_FAILED", application.get("message")
        return status == "RUNNING"

    def engines(self) -> dict[str, str]:
        """Node of each engine replica, by replica id."""
        deployments = self.application()["deployments"]
        (engines,) = [d for n, d in deployments.items() if n.startswith("AndesServer")]
        return {one["replica_id"]: one["node_id"] for one in engines["replicas"]}

    def answers(self, url: str) -> bool:
        try:
            return self.client.get(url).status_code == 200
        except httpx.HTTPError:
            return False

    def start(self) -> None:
        if self.has_redis:
            self.redis.start()
        self.start_head()
        self.worker.start()
        ready = self.url("worker-agent", "/api/local_raylet_healthz")
        wait_until(lambda: self.answers(ready), START_TIMEOUT_S, "no worker")

    def start_head(self) -> None:
        self.head.start()
        ready = self.url("dashboard", "/api/gcs_healthz")
        wait_until(lambda: self.answers(ready), START_TIMEOUT_S, "no head")

    def stop(self) -> None:
        """End everything, HAProxy too, which Ray would leave behind."""
        sessions = [p for p in (self.worker, self.head, self.redis) if p.pid]
        for process in sessions:
            process.stop()
        end(processes_with(str(self.folder)), GRACE_S)
        for node in self.proxy_nodes:
            end(processes_with(f"haproxy-serve/{node}/"), GRACE_S)
        self.client.close()
        assert [p for s in sessions for p in processes_of_session(s.pid)] == []
        assert all(port_is_free(port) for port in self.ports.values())


def _pod() -> dict[str, Any]:
    service = yaml.safe_load((REPO / "k8s" / "base" / "rayservice.yaml").read_text())
    workers = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    (container,) = workers["template"]["spec"]["containers"]
    return dict(container)


def pod_variables() -> dict[str, str]:
    """Those that are in no Secret."""
    return {one["name"]: one["value"] for one in _pod()["env"] if "value" in one}


def pod_folders() -> list[str]:
    """The folders that a pod can write to."""
    return [*(mount["mountPath"] for mount in _pod()["volumeMounts"]), SHARED_MEMORY]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The `dev` overlay's config, deployed and running."""
    if any(REPO.is_relative_to(folder) for folder in pod_folders()):
        pytest.skip(f"{REPO} lies in a folder that the pods have for themselves")
    # A short path: Ray's sockets lie in it.
    folder = Path(tempfile.mkdtemp(prefix="andes-"))
    cluster = Cluster(folder)
    try:
        cluster.start()
        cluster.deploy(_serve_config(cluster))
        wait_until(cluster.is_running, DEPLOY_TIMEOUT_S, "the application does not run")
        yield cluster
    except BaseException:
        for log in folder.glob("*.log"):
            sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}\n")
        raise
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _serve_config(cluster: Cluster) -> dict[str, Any]:
    """The overlay's, but for where the model lies and the head's port."""
    patch = yaml.safe_load((OVERLAYS / "dev" / RENDERED_FILE).read_text())
    config: dict[str, Any] = yaml.safe_load(patch["spec"]["serveConfigV2"])
    config["http_options"]["port"] = cluster.port("head-requests")
    (application,) = config["applications"]
    application["args"]["model"]["source"] = str(ensure_tiny_model())
    return config


@pytest.fixture
def ask(cluster: Cluster) -> Callable[..., Any]:
    """Opens a stream at the worker's proxy, where the Service of the pods sends clients."""

    def stream(*, key: str | None = API_KEY, max_tokens: int = 16) -> Any:
        return cluster.client.stream(
            "POST",
            cluster.url("requests", "/v1/completions"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            json={
                "model": "tiny-llama",
                "prompt": "Hello",
                "stream": True,
                "max_tokens": max_tokens,
                "stream_options": {"include_usage": True},
            },
        )

    return stream
