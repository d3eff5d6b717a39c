"""What the manifests promise each other: pods, ports, labels, Secrets, sizes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ray
import yaml

from deployments.access.keys import KEYS_ENV, VLLM_KEY_ENV
from deployments.config import AppArgs
from deployments.config_errors import ConfigError
from deployments.environment import SERVING_ENV, require_streaming_environment

Manifest = dict[str, Any]
# The pod security standard `restricted`, as far as pods here could miss it.
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
SECRETS = {"andes-api-key", "andes-hub-token", "andes-redis"}


def groups(service: Manifest) -> list[Manifest]:
    cluster = service["spec"]["rayClusterConfig"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def container(group: Manifest) -> Manifest:
    (only,) = group["template"]["spec"]["containers"]
    return dict(only)


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """Specs of all pods, of Ray and of others."""
    service = next(m for m in manifests if m["kind"] == "RayService")
    others = [m["spec"] for m in manifests if m["kind"] == "StatefulSet"]
    return [group["template"]["spec"] for group in (*groups(service), *others)]


def served(service: Manifest) -> AppArgs:
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    return AppArgs.parse(application["args"])


def test_the_pods_run_the_ray_that_is_tested_here(rayservice: Manifest) -> None:
    assert rayservice["spec"]["rayClusterConfig"]["rayVersion"] == ray.__version__


def test_the_head_gets_no_work(rayservice: Manifest) -> None:
    head = groups(rayservice)[0]
    assert head["rayStartParams"]["num-cpus"] == head["rayStartParams"]["num-gpus"] == "0"
    assert "nvidia.com/gpu" not in container(head)["resources"]["limits"]
    assert rayservice["spec"]["excludeHeadPodFromServeSvc"] is True


def test_every_node_of_ray_has_what_direct_streaming_needs(rayservice: Manifest) -> None:
    for group in groups(rayservice):
        env = {v["name"]: v.get("value", "") for v in container(group)["env"]}
        require_streaming_environment(served(rayservice).streaming, env)
        assert env.items() >= SERVING_ENV.items()
        del env["RAY_SERVE_ENABLE_HA_PROXY"]
        try:
            require_streaming_environment(served(rayservice).streaming, env)
        except ConfigError:
            continue
        raise AssertionError("a missing variable went unnoticed")


def test_an_upgrade_leaves_streams_as_much_time_as_a_smaller_fleet(
    rayservice: Manifest,
) -> None:
    delay_s = rayservice["spec"]["rayClusterDeletionDelaySeconds"]
    assert delay_s >= served(rayservice).graceful_shutdown_timeout_s


def test_every_node_of_ray_has_the_keys_from_a_secret_and_no_other_source(
    rayservice: Manifest,
) -> None:
    for group in groups(rayservice):
        sources = {v["name"]: v.get("valueFrom") for v in container(group)["env"]}
        assert sources[KEYS_ENV]["secretKeyRef"]["name"] == "andes-api-key"
        assert VLLM_KEY_ENV not in sources
    assert served(rayservice).api_keys_file is None


def test_an_engine_fits_a_worker_and_the_largest_fleet_its_group(
    rayservice: Manifest,
) -> None:
    args = served(rayservice)
    (workers,) = groups(rayservice)[1:]
    limits = container(workers)["resources"]["limits"]
    assert (args.accelerator == "gpu") == ("nvidia.com/gpu" in limits)
    cpus = float(workers["rayStartParams"].get("num-cpus", limits["cpu"]))
    assert args.num_cpus <= cpus
    engines_a_pod = int(limits.get("nvidia.com/gpu", cpus // args.num_cpus))
    most = args.autoscaling.max_replicas if args.autoscaling else args.replicas
    assert most <= workers["maxReplicas"] * engines_a_pod
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_pods_meet_the_restricted_security_standard(manifests: list[Manifest]) -> None:
    (namespace,) = [m for m in manifests if m["kind"] == "Namespace"]
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"
    for pod in pods(manifests):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in pod["containers"]:
            assert one["securityContext"].items() >= CONTAINER_SECURITY.items()
    # The operator makes the autoscaler's container, and only from this.
    service = next(m for m in manifests if m["kind"] == "RayService")
    autoscaler = service["spec"]["rayClusterConfig"]["autoscalerOptions"]
    assert autoscaler["securityContext"].items() >= CONTAINER_SECURITY.items()


def test_ray_has_a_folder_to_write_to_for_all_that_it_writes(rayservice: Manifest) -> None:
    autoscaler = rayservice["spec"]["rayClusterConfig"]["autoscalerOptions"]
    for group in groups(rayservice):
        pod, one = group["template"]["spec"], container(group)
        volumes = {v["name"] for v in pod["volumes"] if v["emptyDir"]["sizeLimit"]}
        folders = {m["mountPath"] for m in one["volumeMounts"]}
        env = {v["name"]: v.get("value") for v in one["env"]}
        assert {m["name"] for m in one["volumeMounts"]} == volumes
        assert folders >= {"/tmp", env["HOME"], env["HF_HOME"]}
        # No folder in another: kubelet would make what lies between them root's own.
        assert not [a for a in folders for b in folders if a.startswith(f"{b}/")]
        assert autoscaler["volumeMounts"][0] in one["volumeMounts"]


def test_every_container_has_requests_and_a_memory_limit_it_is_given(
    manifests: list[Manifest],
) -> None:
    for pod in pods(manifests):
        for one in pod["containers"]:
            requests, limits = one["resources"]["requests"], one["resources"]["limits"]
            assert requests.keys() == limits.keys()
            # More than was asked for is taken back by killing the engine.
            assert requests["memory"] == limits["memory"]


def test_probes_of_ray_are_the_operators(rayservice: Manifest) -> None:
    for group in groups(rayservice):
        assert not {"livenessProbe", "readinessProbe"} & container(group).keys()


def test_selectors_find_the_pods_they_are_for(manifests: list[Manifest]) -> None:
    service = next(m for m in manifests if m["kind"] == "RayService")
    # The operator adds the second one.
    labels = [
        group["template"]["metadata"]["labels"] | {"ray.io/node-type": kind}
        for group, kind in zip(groups(service), ("head", "worker"), strict=True)
    ]
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "NetworkPolicy":
            selector = spec["podSelector"]
        elif manifest["kind"] in ("PodMonitor", "PodDisruptionBudget"):
            selector = spec["selector"]
        else:
            continue
        if manifest["metadata"]["name"] != "andes-redis":
            wanted = selector["matchLabels"].items()
            assert any(one.items() >= wanted for one in labels), manifest["metadata"]


def test_ports_that_are_scraped_and_let_through_are_ports_of_the_pods(
    manifests: list[Manifest],
) -> None:
    service = next(m for m in manifests if m["kind"] == "RayService")
    open_ports = {
        port["name"]: port["containerPort"]
        for group in groups(service)
        for port in container(group)["ports"]
    }
    for manifest in manifests:
        if manifest["kind"] == "PodMonitor":
            for endpoint in manifest["spec"]["podMetricsEndpoints"]:
                assert endpoint["port"] in open_ports
        if manifest["metadata"]["name"] == "andes-metrics":
            (rule,) = manifest["spec"]["ingress"]
            metrics = {v for k, v in open_ports.items() if k.endswith("metrics")}
            assert {port["port"] for port in rule["ports"]} == metrics
        if manifest["metadata"]["name"] == "andes-clients":
            (rule,) = manifest["spec"]["ingress"]
            assert rule["ports"] == [{"port": open_ports["serve"]}]


def test_secrets_are_referred_to_and_never_made(manifests: list[Manifest]) -> None:
    assert "Secret" not in {m["kind"] for m in manifests}
    assert named_secrets(manifests) <= SECRETS


def test_only_dev_starts_without_secrets(overlay: str, manifests: list[Manifest]) -> None:
    required = {name for name, optional in secret_references(manifests) if not optional}
    assert required == (set() if overlay == "dev" else SECRETS)


def test_the_documented_secrets_are_those_that_are_referred_to() -> None:
    text = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    assert set(re.findall(r"create secret generic (\S+)", text)) == SECRETS


def named_secrets(node: Any) -> set[str]:
    return {name for name, _ in secret_references(node)}


def secret_references(node: Any) -> list[tuple[str, bool]]:
    """Name, and whether the pod starts without it, of every Secret named below `node`."""
    if isinstance(node, list):
        return [found for item in node for found in secret_references(item)]
    if not isinstance(node, dict):
        return []
    here = node.get("secretKeyRef")
    found = [(here["name"], here.get("optional", False))] if here else []
    return found + [each for value in node.values() for each in secret_references(value)]
