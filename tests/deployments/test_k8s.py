"""What an overlay serves is rendered from serve_config.yaml, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from deployments import k8s
from deployments.config import AppArgs
from deployments.config_errors import ConfigError
from deployments.service_config import DEFAULT_CONFIG, merged

ON_GPU = {"model": {"id": "m", "source": "org/m"}, "accelerator": "gpu"}


def overlay(tmp_path: Path, args: Any) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / k8s.ARGS_FILE).write_text(yaml.safe_dump(args))
    return folder


def served(patch: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(yaml.safe_load(patch)["spec"]["serveConfigV2"])
    return config


def test_the_committed_files_are_current() -> None:
    result = CliRunner().invoke(k8s.app, ["--check"])
    assert result.exit_code == 0, result.output


def test_every_overlay_that_builds_on_the_base_serves_something() -> None:
    names = {path.name for path in k8s.serving_overlays()}
    assert names == {"dev", "gpu"}


@pytest.mark.parametrize("path", k8s.serving_overlays(), ids=lambda path: path.name)
def test_what_is_rendered_is_a_config_of_serve_and_of_ours(path: Path) -> None:
    config = served(k8s.render(path))
    (application,) = ServeDeploySchema.model_validate(config).applications
    changes = yaml.safe_load((path / k8s.ARGS_FILE).read_text())
    base = yaml.safe_load(DEFAULT_CONFIG.read_text())["applications"][0]
    assert application.args == merged(base["args"], changes)
    AppArgs.parse(application.args)


def test_pods_listen_for_each_other_whatever_one_machine_does(tmp_path: Path) -> None:
    content = yaml.safe_load(DEFAULT_CONFIG.read_text())
    content["http_options"]["host"] = "127.0.0.1"
    config = tmp_path / "serve_config.yaml"
    config.write_text(yaml.safe_dump(content))
    for path in k8s.serving_overlays():
        assert served(k8s.render(path, config))["http_options"]["host"] == "0.0.0.0"


def test_a_change_of_the_service_changes_every_overlay(tmp_path: Path) -> None:
    content = yaml.safe_load(DEFAULT_CONFIG.read_text())
    content["applications"][0]["args"]["default_profile"] = "listening"
    config = tmp_path / "serve_config.yaml"
    config.write_text(yaml.safe_dump(content))
    for path in k8s.serving_overlays():
        assert k8s.render(path, config) != k8s.render(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"default_profile": "skim"}, ["args.default_profile", "'skim'", "reading"]),
        ({"replica": 3}, ["args.replica=3 is unknown", "replicas"]),
        ({"accelerator": "auto"}, ["args.accelerator='auto'", "cpu or gpu"]),
        ({"streaming": "handle"}, ["args.streaming='handle'", "API key"]),
        ({"model": {"source": ".run/tiny"}}, ["args.model.source='.run/tiny'", "absolute"]),
        (
            {"engine_kwargs": {"max_num_seq": 8}},
            ["args.engine_kwargs.max_num_seq=8", "max_num_seqs"],
        ),
        (
            {"replicas": 5, "autoscaling": {"min_replicas": 1, "max_replicas": 4}},
            ["replicas=5", "max_replicas=4"],
        ),
    ],
)
def test_what_could_not_be_served_is_not_rendered(
    tmp_path: Path, change: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        k8s.render(overlay(tmp_path, merged(ON_GPU, change)))
    (line,) = str(caught.value).splitlines()
    assert all(part in line for part in ("mine: ", *said)), line


def test_a_port_that_the_pods_do_not_open_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "serve_config.yaml"
    config.write_text(DEFAULT_CONFIG.read_text().replace("port: 8000", "port: 9000"))
    with pytest.raises(ConfigError, match=r"^mine: http_options\.port=9000 .* 8000$"):
        k8s.render(overlay(tmp_path, ON_GPU), config)


@pytest.mark.parametrize("content", ["- a", "", "a: ["])
def test_a_file_that_changes_no_args_is_refused_by_name(
    tmp_path: Path, content: str
) -> None:
    folder = overlay(tmp_path, {})
    (folder / k8s.ARGS_FILE).write_text(content)
    with pytest.raises(ConfigError, match=k8s.ARGS_FILE) as caught:
        k8s.render(folder)
    assert "\n" not in str(caught.value)


def test_a_stale_file_is_named_and_only_written_without_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = overlay(tmp_path, ON_GPU)
    (folder / k8s.RENDERED_FILE).write_text("old")
    monkeypatch.setattr(k8s, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(k8s, "serving_overlays", lambda: [folder])
    check = CliRunner().invoke(k8s.app, ["--check"])
    assert check.exit_code == 1
    assert f"mine/{k8s.RENDERED_FILE}" in check.output
    assert (folder / k8s.RENDERED_FILE).read_text() == "old"
    assert CliRunner().invoke(k8s.app, []).exit_code == 0
    assert CliRunner().invoke(k8s.app, ["--check"]).exit_code == 0
