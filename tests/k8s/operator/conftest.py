"""What the KubeRay operator itself refuses, beyond its CRD.

Written after `ray-operator/controllers/ray/utils/validation.go` of KubeRay 1.7: the rules
of a RayService that the manifests here could break. The operator says them only in an event
of the RayService, long after `kubectl apply` was content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# 63 of a DNS label, less `-serve-svc` and the suffix of the cluster's name.
MAX_NAME_LENGTH = 47
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
GO_DURATION = re.compile(r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+|[1-9]\d*")
OF_RESOURCES = {"num-cpus", "num-gpus", "memory", "resources"}
UPGRADES = {"NewCluster", "NewClusterWithIncrementalUpgrade", "None"}
MANAGED_ENV = {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD"}
MIN_VERSION_OF_TOKENS = (2, 52)

Manifest = dict[str, Any]
Refusals = Callable[[Manifest], list[str]]


def _of_metadata(metadata: Manifest) -> Iterator[str]:
    name = metadata["name"]
    if len(name) > MAX_NAME_LENGTH or not DNS_1035.fullmatch(name):
        yield f"name {name!r}"
    annotations = metadata.get("annotations", {})
    timeout = annotations.get("ray.io/initializing-timeout")
    if timeout and not GO_DURATION.fullmatch(timeout):
        yield f"initializing-timeout {timeout!r}"
    if annotations.get("ray.io/ft-enabled"):
        yield "ft-enabled beside gcsFaultToleranceOptions"


def _of_group(name: str, group: Manifest) -> Iterator[str]:
    params = group["rayStartParams"]
    if not group["template"]["spec"].get("containers"):
        yield f"{name}: no container"
    if group.get("resources") and OF_RESOURCES & params.keys():
        yield f"{name}: resources twice"
    if "labels" in params:
        yield f"{name}: rayStartParams.labels"


def _of_workers(group: Manifest) -> Iterator[str]:
    name = group["groupName"]
    yield from _of_group(name, group)
    lowest, highest = group.get("minReplicas", 0), group.get("maxReplicas", 2**31 - 1)
    if not 0 <= lowest <= highest:
        yield f"{name}: replicas from {lowest} to {highest}"


def _of_head(cluster: Manifest) -> Iterator[str]:
    head = cluster["headGroupSpec"]
    yield from _of_group("Head", head)
    if head.get("headService", {}).get("metadata", {}).get("name"):
        yield "headService.name"
    env = {variable["name"] for variable in _container(head).get("env", [])}
    params = head["rayStartParams"]
    if found := MANAGED_ENV & env:
        yield f"env {sorted(found)}"
    if "redis-password" in params or "redis-username" in params or "REDIS_USERNAME" in env:
        yield "redis user or password"
    if "RAY_enable_autoscaler_v2" in env:
        yield "RAY_enable_autoscaler_v2"


def _of_autoscaling(cluster: Manifest) -> Iterator[str]:
    options = cluster.get("autoscalerOptions", {})
    if options.get("idleTimeoutSeconds", 0) < 0:
        yield "idleTimeoutSeconds"
    groups = cluster["workerGroupSpecs"]
    if cluster.get("enableInTreeAutoscaling"):
        if any(group.get("suspend") for group in groups):
            yield "suspend with autoscaling"
        if options.get("version") == "v2":
            for group in (cluster["headGroupSpec"], *groups):
                policy = group["template"]["spec"].get("restartPolicy", "Never")
                if policy != "Never":
                    yield f"restartPolicy {policy}"
    elif any({"minReplicas", "maxReplicas"} - group.keys() for group in groups):
        yield "minReplicas and maxReplicas without autoscaling"


def _of_authentication(cluster: Manifest) -> Iterator[str]:
    if cluster.get("authOptions", {}).get("mode") != "token":
        return
    version = tuple(int(part) for part in cluster.get("rayVersion", "0.0").split(".")[:2])
    if version < MIN_VERSION_OF_TOKENS:
        yield f"token with Ray {version}"


def _of_upgrade(spec: Manifest) -> Iterator[str]:
    if spec.get("rayClusterDeletionDelaySeconds", 0) < 0:
        yield "rayClusterDeletionDelaySeconds"
    strategy = spec.get("upgradeStrategy", {})
    kind = strategy.get("type", "NewCluster")
    if kind not in UPGRADES:
        yield f"upgrade {kind}"
    if kind == "NewClusterWithIncrementalUpgrade":
        if not spec["rayClusterConfig"].get("enableInTreeAutoscaling"):
            yield "incremental upgrade without autoscaling"
        yield from _of_increments(strategy.get("clusterUpgradeOptions", {}))


def _of_increments(options: Manifest) -> Iterator[str]:
    surge, step = options.get("maxSurgePercent", 100), options.get("stepSizePercent", -1)
    if not 0 <= surge <= 100 or not 0 <= step <= 100:
        yield f"percent {surge} {step}"
    if step > surge:
        yield f"step {step} above surge {surge}"
    if options.get("intervalSeconds", 0) <= 0:
        yield "intervalSeconds"
    if not options.get("gatewayClassName"):
        yield "gatewayClassName"


def _of_ports(head: Manifest) -> Iterator[str]:
    # No refusal: without one the operator makes no Service for requests.
    names = [port["name"] for port in _container(head).get("ports", [])]
    if not any(re.fullmatch(r"serve(-.*)?", name) for name in names):
        yield "no port named serve"


def _container(group: Manifest) -> Manifest:
    containers = group["template"]["spec"].get("containers") or [{}]
    first: Manifest = containers[0]
    return first


@pytest.fixture
def refusals() -> Refusals:
    """What the operator says against a RayService, in a few words each."""

    def of(service: Manifest) -> list[str]:
        cluster = service["spec"]["rayClusterConfig"]
        return [
            *_of_metadata(service["metadata"]),
            *_of_head(cluster),
            *_of_ports(cluster["headGroupSpec"]),
            *(said for group in cluster["workerGroupSpecs"] for said in _of_workers(group)),
            *_of_autoscaling(cluster),
            *_of_authentication(cluster),
            *_of_upgrade(service["spec"]),
        ]

    return of
