"""The overlays as `kubectl apply -k` would send them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

REPO = Path(__file__).parents[2]
OVERLAYS = ("dev", "gateway", "gpu", "scarce-gpu")
SHARED = REPO.parent / "shared"

Manifest = dict[str, Any]
Build = Callable[[Path], list[Manifest]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "overlay" in metafunc.fixturenames:
        metafunc.parametrize("overlay", OVERLAYS)


def _without(what: str) -> NoReturn:
    """Nothing is proven without it: that is said, and in CI it is a failure."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def build() -> Build:
    """Builds a kustomization as kubectl does, with its default restrictions."""
    commands = {"kubectl": ["kubectl", "kustomize"], "kustomize": ["kustomize", "build"]}
    found = next((c for tool, c in commands.items() if shutil.which(tool)), None)
    if found is None:
        _without("there is neither kubectl nor kustomize (5.0 or later) on PATH")

    @cache
    def built(folder: Path) -> str:
        run = subprocess.run(
            [*found, str(folder)], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    return lambda folder: list(yaml.safe_load_all(built(folder)))


@pytest.fixture
def manifests(build: Build, overlay: str) -> list[Manifest]:
    """Everything the overlay makes."""
    return build(REPO / "k8s" / "overlays" / overlay)


@pytest.fixture
def rayservice(manifests: list[Manifest]) -> Manifest:
    """The overlay's one RayService."""
    (found,) = [m for m in manifests if m["kind"] == "RayService"]
    return found


@pytest.fixture
def gpu_rayservice(build: Build) -> Manifest:
    """The one to break: of the `gpu` overlay, a copy of its own for each test."""
    manifests = build(REPO / "k8s" / "overlays" / "gpu")
    (found,) = [m for m in manifests if m["kind"] == "RayService"]
    return found


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project with CRDs and the tool that reads them."""
    if not (SHARED / "data" / "crds").is_dir():
        pytest.skip(
            f"the shared data is not beside the project: no {SHARED.name}/data/crds"
        )
    return SHARED
