"""Every overlay is what the API server and the CRDs accept, to the last field."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

Manifest = dict[str, Any]

# The oldest that KubeRay 1.6 is tested with, and the newest with a schema.
KUBERNETES = ("1.30", "1.37")
CRDS = {
    "RayService": (
        "kuberay-1.6.2/ray.io_rayservices.yaml",
        "kuberay-1.7.0/ray.io_rayservices.yaml",
    ),
    "PodMonitor": ("prometheus-operator/monitoring.coreos.com_podmonitors.yaml",),
    "PrometheusRule": ("prometheus-operator/monitoring.coreos.com_prometheusrules.yaml",),
}


def core_refusal(manifest: Manifest, version: str) -> str:
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""


def crd_refusal(shared: Path, crd: str, manifests: list[Manifest], tmp_path: Path) -> str:
    path = tmp_path / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(manifests))
    run = subprocess.run(
        [
            sys.executable,
            shared / "tools/validate_crd.py",
            shared / "data/crds" / crd,
            path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout + run.stderr if run.returncode else ""


@pytest.mark.parametrize("version", KUBERNETES)
def test_core_kinds_have_no_unknown_field(manifests: list[Manifest], version: str) -> None:
    core = [m for m in manifests if m["kind"] not in CRDS]
    assert {"Namespace", "NetworkPolicy"} <= {m["kind"] for m in core}
    for manifest in core:
        assert core_refusal(manifest, version) == "", manifest["metadata"]["name"]


def test_custom_resources_are_what_their_crds_accept(
    manifests: list[Manifest], shared: Path, tmp_path: Path
) -> None:
    kinds = {m["kind"] for m in manifests} & set(CRDS)
    assert "RayService" in kinds
    for kind in kinds:
        of_kind = [m for m in manifests if m["kind"] == kind]
        for crd in CRDS[kind]:
            assert crd_refusal(shared, crd, of_kind, tmp_path) == ""


@pytest.mark.parametrize("crd", CRDS["RayService"])
@pytest.mark.parametrize(
    ("where", "key", "value", "said"),
    [
        (("workerGroupSpecs", 0), "maxReplicaz", 4, "maxReplicaz"),
        (("workerGroupSpecs", 0), "minReplicas", "one", "'one' is not of type 'integer'"),
        (("autoscalerOptions",), "version", "v3", "'v3' is not one of"),
        (("gcsFaultToleranceOptions",), "redisPasword", {}, "redisPasword"),
        (
            ("headGroupSpec", "template", "spec", "containers", 0),
            "ports",
            [{"name": "serve"}],
            "'containerPort' is a required property",
        ),
    ],
)
def test_a_broken_rayservice_is_caught(
    gpu_rayservice: Manifest,
    shared: Path,
    tmp_path: Path,
    crd: str,
    where: tuple[Any, ...],
    key: str,
    value: Any,
    said: str,
) -> None:
    place = gpu_rayservice["spec"]["rayClusterConfig"]
    for step in where:
        place = place[step]
    place[key] = value
    assert said in crd_refusal(shared, crd, [gpu_rayservice], tmp_path)


@pytest.mark.parametrize(
    ("kind", "where", "said"),
    [
        ("NetworkPolicy", ("spec", "podSelektor"), "podSelektor"),
        ("PodDisruptionBudget", ("spec", "minAvailabel"), "minAvailabel"),
        ("StatefulSet", ("spec", "template", "spec", "runAsNonRoot"), "runAsNonRoot"),
    ],
)
def test_a_broken_core_manifest_is_caught(
    build: Any, kind: str, where: tuple[str, ...], said: str
) -> None:
    folder = Path(__file__).parents[2] / "k8s" / "overlays" / "gpu"
    manifest = copy.deepcopy(next(m for m in build(folder) if m["kind"] == kind))
    place = manifest
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = 1
    assert said in core_refusal(manifest, KUBERNETES[-1])
