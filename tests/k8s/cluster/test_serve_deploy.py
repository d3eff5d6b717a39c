"""The rendered config runs on nodes like the pods': guarded and probed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest


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
