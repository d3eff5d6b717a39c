"""The rendered config runs on nodes like the pods': guarded, probed, without its head."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from deployments.processes import processes_of_session, wait_until

RECOVERY_TIMEOUT_S, BEGIN_TIMEOUT_S = 180.0, 60.0
# They last for half a minute, and nearly all of it is written without a head.
STREAMS, LONG_TOKENS = 8, 3500


def test_engines_run_on_the_worker_and_not_on_the_head(cluster: Any) -> None:
    engines = cluster.engines()
    assert len(engines) == 2
    assert len(set(engines.values())) == 1
    # All CPUs are the worker's, so an engine on the head would still wait for one.
    assert cluster.is_running()


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ("head-agent", "/api/healthz"),
        ("head-agent", "/api/local_raylet_healthz"),
        ("worker-agent", "/api/healthz"),
        ("worker-agent", "/api/local_raylet_healthz"),
        ("dashboard", "/api/gcs_healthz"),
        ("requests", "/-/healthz"),
    ],
)
def test_what_kuberay_probes_answers_success_without_a_token(
    cluster: Any, port: str, path: str
) -> None:
    command = ["wget", "--tries", "1", "-T", "5", "-q", "-O-", cluster.url(port, path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "success" in run.stdout


def test_the_dashboard_asks_for_its_token(cluster: Any) -> None:
    answer = cluster.client.get(cluster.url("dashboard", "/api/serve/applications/"))
    assert answer.status_code == 401


@pytest.mark.parametrize("key", [None, "another"])
def test_a_client_without_the_api_key_is_refused(
    ask: Callable[..., Any], key: str | None
) -> None:
    with ask(key=key) as answer:
        assert answer.status_code == 401


def test_a_client_with_the_api_key_gets_a_stream(ask: Callable[..., Any]) -> None:
    with ask() as answer:
        assert answer.status_code == 200
        assert list(answer.iter_lines())[-2] == "data: [DONE]"


def test_nodes_have_no_privileges_and_write_to_the_pods_folders_only(cluster: Any) -> None:
    for node in (cluster.head, cluster.worker):
        ours = processes_of_session(node.pid)
        # Engines, too, which vLLM starts.
        assert any("EngineCore" in process.name() for process in ours) == (
            node is cluster.worker
        )
        for process in ours:
            proc = Path(f"/proc/{process.pid}")
            assert "\nCapEff:\t0000000000000000\n" in (proc / "status").read_text()
            assert (proc / "uid_map").read_text().split()[0] == "1000"
            # Terminals are no place to keep anything.
            mounts = set(node.environ["POD_MOUNTS"].split())
            assert _writable(proc) - {"/dev/pts"} == mounts


def _writable(proc: Path) -> set[str]:
    """Where a process may write, its own /proc apart."""
    mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    writable = {at for _, _, _, _, at, options, *_ in mounts if "rw" in options.split(",")}
    return {at for at in writable if not at.startswith("/proc")}


def _read_to_the_end(ask: Callable[..., Any], begun: Barrier) -> list[str]:
    with ask(max_tokens=LONG_TOKENS) as answer:
        lines = answer.iter_lines()
        told = [next(lines)]
        begun.wait(BEGIN_TIMEOUT_S)
        return told + [line for line in lines if line]


def test_streams_outlive_the_head_and_it_comes_back_to_the_same_engines(
    cluster: Any, ask: Callable[..., Any]
) -> None:
    if not cluster.has_redis:
        pytest.fail("redis-server is missing: apt-get install redis-server")
    engines, begun = cluster.engines(), Barrier(STREAMS + 1)
    with ThreadPoolExecutor(STREAMS) as pool:
        streams = [pool.submit(_read_to_the_end, ask, begun) for _ in range(STREAMS)]
        begun.wait(BEGIN_TIMEOUT_S)
        for process in processes_of_session(cluster.head.pid):
            process.send_signal(signal.SIGKILL)
        wait_until(lambda: not cluster.application(), RECOVERY_TIMEOUT_S, "head is there")
        assert not any(stream.done() for stream in streams)
        told = [stream.result() for stream in streams]
    assert [lines[-1] for lines in told] == ["data: [DONE]"] * STREAMS
    usages = [json.loads(lines[-2].removeprefix("data: "))["usage"] for lines in told]
    assert {usage["completion_tokens"] for usage in usages} == {LONG_TOKENS}
    # Others come, too, while there is no head.
    with ask() as answer:
        assert answer.status_code == 200
        assert list(answer.iter_lines())[-2] == "data: [DONE]"
    cluster.start_head()
    wait_until(cluster.is_running, RECOVERY_TIMEOUT_S, "the application is not back")
    assert cluster.engines() == engines
    with ask() as answer:
        assert answer.status_code == 200
