"""What Prometheus and Alertmanager are told, judged by their own checkers."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deployments import observe
from deployments.processes import ServiceError, free_port


def checked(program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        pytest.fail(
            f"{program} is missing: apt-get install prometheus prometheus-alertmanager"
        )
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration_and_finds_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    config = observe.prometheus_config(observe.RULES, 1.5, 9093)
    path.write_text(yaml.safe_dump(config))
    checked("promtool", "check", "config", str(path))
    assert config["global"]["scrape_interval"] == "1500ms"


@pytest.mark.parametrize("webhook", [None, "http://127.0.0.1:9/hook"])
def test_alertmanager_takes_its_configuration(tmp_path: Path, webhook: str | None) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(observe.alertmanager_config(webhook)))
    checked("amtool", "check-config", str(path))


def test_only_living_nodes_with_a_port_are_looked_at() -> None:
    nodes = [
        {"NodeManagerAddress": "10.0.0.1", "MetricsExportPort": 8080, "Alive": True},
        {"NodeManagerAddress": "10.0.0.2", "MetricsExportPort": 8080, "Alive": False},
        {"NodeManagerAddress": "10.0.0.3", "MetricsExportPort": 0, "Alive": True},
    ]
    assert observe.metrics_targets(nodes) == ["10.0.0.1:8080"]


def test_without_a_service_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "RUN_DIR", tmp_path)
    ports = {"prometheus_port": free_port(), "alertmanager_port": free_port()}
    with pytest.raises(ServiceError, match="make run"), observe.observe(**ports):
        pass


def test_a_missing_program_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServiceError, match="apt-get install prometheus"), observe.observe():
        pass
