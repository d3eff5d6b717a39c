"""PromQL over the catalogue: no name of a metric is typed anywhere else.

Counters of dead replicas stay on a node's page: only what they gain counts. Gauges go with
their replica.
"""

from __future__ import annotations

from telemetry.catalogue import CLASS_LABEL, INFO, KV_BLOCKS, QOE, Metric
from telemetry.report import TARGET_QOE

# Serve's and vLLM's own metrics, as Ray publishes them.
SERVE_HEALTHY = "ray_serve_deployment_replica_healthy"
SERVE_TARGET = "ray_serve_autoscaling_target_replicas"
VLLM_TOKENS = "ray_vllm_generation_tokens_total"
REPLICAS = 'deployment=~"AndesServer.*"'
FOREIGN = (SERVE_HEALTHY, SERVE_TARGET, VLLM_TOKENS)

# Chosen by whoever looks at a dashboard; rules look at every application.
OF_APPLICATION = 'application=~"$application"'
DASHBOARD_WINDOW = "$__rate_interval"
# For a single number: all that is shown.
WHOLE_WINDOW = "$__range"
# A class in which nobody watches the tokens has no reader to suffer.
HAS_READER = f'{CLASS_LABEL}!="none"'
TARGET_EDGE = f'le="{TARGET_QOE:g}"'


def series(metric: Metric | str, *matchers: str) -> str:
    """A selector; a histogram's series are named by `bucket` and `count`."""
    name = metric if isinstance(metric, str) else metric.exposed
    said = ", ".join(m for m in matchers if m)
    return f"{name}{{{said}}}" if said else name


def bucket(metric: Metric) -> str:
    return f"{metric.exposed}_bucket"


def count(metric: Metric) -> str:
    return f"{metric.exposed}_count"


def by(labels: str, vector: str) -> str:
    """The sum over everything but `labels`."""
    return f"sum by ({labels}) ({vector})" if labels else f"sum({vector})"


def rate(
    metric: Metric | str,
    labels: str = "",
    *matchers: str,
    window: str = DASHBOARD_WINDOW,
    of: str = OF_APPLICATION,
) -> str:
    """What a counter gains a second, summed up to `labels`."""
    return by(labels, f"rate({series(metric, of, *matchers)}[{window}])")


def now(
    metric: Metric | str, labels: str = "", *matchers: str, of: str = OF_APPLICATION
) -> str:
    """A gauge, summed up to `labels`."""
    return by(labels, series(metric, of, *matchers))


def mean(sums: Metric, counts: Metric, labels: str = "", *matchers: str) -> str:
    """The exact mean: what one counter gains by what the other does."""
    return f"{rate(sums, labels, *matchers)} / {rate(counts, labels, *matchers)}"


def quantile(share: float, histogram: Metric, labels: str = "") -> str:
    """A quantile, as exact as the buckets are."""
    kept = f"le, {labels}" if labels else "le"
    return f"histogram_quantile({share:g}, {rate(bucket(histogram), kept)})"


def attainment(labels: str = "", *matchers: str, window: str = DASHBOARD_WINDOW) -> str:
    """Share of the finished streams whose QoE is above the target, a bucket's edge."""
    bad = rate(bucket(QOE), labels, TARGET_EDGE, *matchers, window=window)
    return f"1 - {bad} / {rate(count(QOE), labels, *matchers, window=window)}"


def kv_share(labels: str = "", *, of: str = OF_APPLICATION) -> str:
    """Part of the KV memory that streams hold."""
    used, total = (now(KV_BLOCKS, labels, f'state="{s}"', of=of) for s in ("used", "total"))
    return f"{used} / {total}"


def by_version(vector: str) -> str:
    """`vector`, which has one series a replica, summed up by the scheduler it runs."""
    info = f"max by (replica, policy, version) ({series(INFO, OF_APPLICATION)})"
    joined = f"{vector} * on (replica) group_left (policy, version) {info}"
    return by("policy, version", joined)


def wanted() -> str:
    """Replicas that Serve wants; it tells them without autoscaling too."""
    return now(SERVE_TARGET, "", REPLICAS)
