"""The images are what the manifests and the tests take them for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import ray

REPO = Path(__file__).parents[2]
DOCKERFILES = sorted((REPO / "docker").glob("*.Dockerfile"))
PACKAGES = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["hatch"]["build"]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("hadolint")
    found = str(tool) if tool.exists() else shutil.which("hadolint")
    assert found is not None, "hadolint is not installed: `make install` brings it"
    return subprocess.run([found, str(path)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_is_clean_and_ends_as_the_user_of_the_manifests(path: Path) -> None:
    result = hadolint(path)
    assert result.returncode == 0, result.stdout
    assert re.findall(r"^USER (.*)$", path.read_text(), re.M)[-1] == "1000:100"


def test_a_broken_dockerfile_is_caught(tmp_path: Path) -> None:
    broken = tmp_path / "broken.Dockerfile"
    broken.write_text("FROM python\nRUN cd /tmp && apt-get install wget\n")
    assert hadolint(broken).returncode != 0


def test_pods_run_as_the_user_of_the_images(rayservice: dict[str, Any]) -> None:
    cluster = rayservice["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        security = group["template"]["spec"]["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (1000, 100)


def test_overlays_name_an_image_that_has_a_dockerfile(rayservice: dict[str, Any]) -> None:
    cluster = rayservice["spec"]["rayClusterConfig"]
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    images = {f"andes:{version}-{path.name.split('.')[0]}" for path in DOCKERFILES}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] in images


def test_the_build_context_has_all_that_is_installed() -> None:
    ignored = (REPO / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    assert kept >= {*PACKAGES["targets"]["wheel"]["packages"], "pyproject.toml"}


def test_the_gpu_image_is_of_the_ray_that_is_tested_here() -> None:
    text = (REPO / "docker" / "gpu.Dockerfile").read_text()
    assert f"RAY_LLM_TAG={ray.__version__}-" in text
    assert f"'{ray.__version__}'" in text
    pinned = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    (vllm,) = pinned["optional-dependencies"]["gpu"]
    assert f"'{vllm.removeprefix('vllm==')}'" in text
