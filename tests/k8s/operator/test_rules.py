"""The operator takes every overlay, and the port of its rules can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Manifest = dict[str, Any]
Refusals = Callable[[Manifest], list[str]]


def test_the_operator_takes_every_overlay(rayservice: Manifest, refusals: Refusals) -> None:
    assert refusals(rayservice) == []


def changed(service: Manifest, path: str, value: Any) -> Manifest:
    """`service` with `value` at a dotted path; lists by index."""
    *way, last = path.split(".")
    place: Any = service
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    place[last] = value
    return service


HEAD = "spec.rayClusterConfig.headGroupSpec"
WORKERS = "spec.rayClusterConfig.workerGroupSpecs.0"
INCREMENTAL = {
    "type": "NewClusterWithIncrementalUpgrade",
    "clusterUpgradeOptions": {
        "gatewayClassName": "istio",
        "stepSizePercent": 10,
        "maxSurgePercent": 10,
        "intervalSeconds": 30,
    },
}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("metadata.name", "a" * 48, "name"),
        ("metadata.name", "8b", "name"),
        ("metadata.annotations", {"ray.io/initializing-timeout": "soon"}, "timeout"),
        ("metadata.annotations", {"ray.io/ft-enabled": "true"}, "ft-enabled"),
        (f"{WORKERS}.template.spec.containers", [], "no container"),
        (f"{HEAD}.template.spec.containers.0.ports", [], "no port named serve"),
        (f"{HEAD}.resources", {"CPU": "0"}, "resources twice"),
        (f"{HEAD}.rayStartParams", {"labels": "a=b"}, "rayStartParams.labels"),
        (f"{HEAD}.rayStartParams", {"redis-password": "x"}, "redis"),
        (f"{HEAD}.headService", {"metadata": {"name": "mine"}}, "headService.name"),
        (
            f"{HEAD}.template.spec.containers.0.env",
            [{"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"}],
            "RAY_REDIS_ADDRESS",
        ),
        (f"{HEAD}.template.spec.restartPolicy", "Always", "restartPolicy Always"),
        (f"{WORKERS}.template.spec.restartPolicy", "OnFailure", "restartPolicy OnFailure"),
        (f"{WORKERS}.minReplicas", 9, "replicas from 9 to 4"),
        (f"{WORKERS}.suspend", True, "suspend"),
        ("spec.rayClusterConfig.rayVersion", "2.51.0", "token"),
        ("spec.rayClusterConfig.autoscalerOptions.idleTimeoutSeconds", -1, "idleTimeout"),
        ("spec.upgradeStrategy", {"type": "Rolling"}, "upgrade Rolling"),
        ("spec.rayClusterDeletionDelaySeconds", -1, "rayClusterDeletionDelaySeconds"),
    ],
)
def test_what_the_operator_refuses_is_refused_here(
    gpu_rayservice: Manifest, refusals: Refusals, path: str, value: Any, said: str
) -> None:
    assert refusals(gpu_rayservice) == []
    (refusal,) = refusals(changed(gpu_rayservice, path, value))
    assert said in refusal


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("clusterUpgradeOptions.stepSizePercent", 20, "step 20 above surge 10"),
        ("clusterUpgradeOptions.maxSurgePercent", 101, "percent 101"),
        ("clusterUpgradeOptions.intervalSeconds", 0, "intervalSeconds"),
        ("clusterUpgradeOptions.gatewayClassName", "", "gatewayClassName"),
    ],
)
def test_a_bad_step_of_an_upgrade_is_refused(
    gpu_rayservice: Manifest, refusals: Refusals, path: str, value: Any, said: str
) -> None:
    gpu_rayservice["spec"]["upgradeStrategy"] = changed(
        {**INCREMENTAL, "clusterUpgradeOptions": {**INCREMENTAL["clusterUpgradeOptions"]}},
        path,
        value,
    )
    (refusal,) = refusals(gpu_rayservice)
    assert said in refusal


def test_an_upgrade_in_steps_needs_the_autoscaler(
    gpu_rayservice: Manifest, refusals: Refusals
) -> None:
    gpu_rayservice["spec"]["upgradeStrategy"] = INCREMENTAL
    gpu_rayservice["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"] = False
    assert refusals(gpu_rayservice) == ["incremental upgrade without autoscaling"]
