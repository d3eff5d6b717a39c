"""The Ray cluster under the service: the user's if one runs, else one of our own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._common.utils import get_ray_address_file
from ray._private import ray_constants, services
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

from deployments.processes import (
    ProcessRef,
    ServiceError,
    end,
    free_port,
    processes_of_session,
    wait_until,
)

HOST = "127.0.0.1"
# Two CPU replicas, their ingress and Serve's own actors are scheduled by these.
MIN_LOGICAL_CPUS = 8
OBJECT_STORE_BYTES = 256 * 1024 * 1024
START_TIMEOUT_S = 120.0
HEAD_GRACE_S, WORKERS_GRACE_S = 30.0, 5.0
# Serve has been shut down by then; what Ray would wait for is its own statistics.
NO_DRAINING = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
# Ray takes a loopback address for a mistake, and listens on every interface, unless this
# says that its cluster is one machine.
LOCAL_ENV = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}
AUTH_MODE_ENV, TOKEN_PATH_ENV = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"


@dataclass(frozen=True, slots=True)
class OwnRay:
    """A Ray head that was started here, and the process to stop it by."""

    address: str
    head: ProcessRef


def find_running() -> str | None:
    """Address of a Ray cluster that was started here or named in RAY_ADDRESS, or None.

    Ray itself would try for a minute to reach one that has ended.
    """
    address = os.environ.get("RAY_ADDRESS") or _recorded_address()
    return address if address and answers(address) else None


def authenticate(token_path: Path | None) -> None:
    """Have this process, and what it starts, send the token that a cluster asks for.

    Whoever reaches Ray without being asked for one may run code.

    Args:
        token_path: Of a Ray of our own, made if it is missing; None for the user's, which
            asks for the token in the home directory if there is one. A mode that the
            user has set stays.
    """
    if AUTH_MODE_ENV in os.environ:
        return
    if token_path is None:
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        return
    if not token_path.exists():
        token_path.touch(mode=0o600)
        token_path.write_text(secrets.token_hex(32))
    os.environ |= {AUTH_MODE_ENV: "token", TOKEN_PATH_ENV: str(token_path)}
    # Ray has read both when it was imported.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def start(environ: Mapping[str, str], log_path: Path) -> OwnRay:
    """Start a Ray head of our own, which this machine alone reaches with `LOCAL_ENV`.

    Raises:
        ServiceError: It did not come up; the message names its log.
    """
    address = f"{HOST}:{free_port()}"
    with log_path.open("w") as log:
        # A session of its own: Ctrl-C is not for Ray, and all it starts can be found.
        process = subprocess.Popen(
            _command(address),
            env={**environ, **NO_DRAINING},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    own = OwnRay(address, ProcessRef.of(process.pid))
    problem = f"Ray did not start; see {log_path}"
    try:
        wait_until(
            lambda: answers(address) or process.poll() is not None,
            START_TIMEOUT_S,
            problem,
        )
        if process.poll() is not None:
            raise ServiceError(problem)
    except BaseException:
        stop(own)
        raise
    return own


def stop(own: OwnRay) -> None:
    """End a Ray head that `start` returned, and everything that runs under it."""
    if process := own.head.find():
        end([process], HEAD_GRACE_S)
    end(processes_of_session(own.head.pid), WORKERS_GRACE_S)
    # Ray leaves its address behind; whoever looks for a cluster next would wait for it.
    recorded = _recorded_address()
    if recorded and recorded.endswith(f":{own.address.split(':')[1]}"):
        _address_file().unlink(missing_ok=True)


def connect(address: str) -> None:
    """Make this process a quiet client of the cluster.

    Raises:
        ServiceError: The cluster does not answer.
    """
    # Ray has read the environment when it was imported.
    ray_constants.ENABLE_RAY_CLUSTER = not is_local_only(address)
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address, namespace="serve", logging_level="ERROR", log_to_driver=False
        )
    except (ConnectionError, RuntimeError) as error:
        raise ServiceError(f"Ray at {address} does not answer: {error}") from error
    # Ray aborts the process on SIGTERM, and nothing would be cleaned up.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)


def _command(address: str) -> list[str]:
    cpus = max(MIN_LOGICAL_CPUS, os.cpu_count() or 0)
    return [
        *(script("ray"), "start", "--head", "--block", f"--port={address.split(':')[1]}"),
        *(f"--num-cpus={cpus}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
        f"--node-ip-address={HOST}",
        *("--include-dashboard=false", "--disable-usage-stats"),
    ]


def is_local_only(address: str) -> bool:
    """Whether a cluster is reached at the loopback address and at no other one."""
    host, _, port = address.rpartition(":")
    return host.startswith("127.") and not answers(
        f"{services.node_ip_address_from_perspective()}:{port}"
    )


def script(name: str) -> str:
    """Path of a command installed beside this Python."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or name


def _address_file() -> Path:
    return Path(get_ray_address_file(None))


def _recorded_address() -> str | None:
    try:
        return _address_file().read_text().strip()
    except FileNotFoundError:
        return None


def answers(address: str) -> bool:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0):
            return True
    except (OSError, ValueError):
        return False
