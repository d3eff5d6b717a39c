"""What a fleet's metrics pages say, as numbers. Pure: text in, values out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from telemetry import catalogue
from telemetry.catalogue import CLASS_LABEL, CLASSES

# vLLM's own; its label for the replica is Ray's.
TOKENS = "ray_vllm_generation_tokens_total"
TOKENS_REPLICA = "ReplicaId"
# Nobody watches the streams of the class that is called so.
READERS = tuple(name for name in CLASSES if name != "none")


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one class, or of several.

    Attributes:
        active: In the engines now.
        below_target: Of them, those whose QoE so far is below target.
        finished: Since the engines began.
        qoe_sum: Of those that finished.
    """

    active: float = 0.0
    below_target: float = 0.0
    finished: float = 0.0
    qoe_sum: float = 0.0

    def __add__(self, other: Streams) -> Streams:
        return Streams(
            self.active + other.active,
            self.below_target + other.below_target,
            self.finished + other.finished,
            self.qoe_sum + other.qoe_sum,
        )


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine.

    Attributes:
        name: Its replica's id.
        policy: The scheduler that it runs.
        kv_used: KV blocks that streams hold,
        kv_total: of so many.
        states: Streams that are running, waiting and preempted.
        classes: Streams by class.
        tokens: Written since it began; None where vLLM does not say.
    """

    name: str
    policy: str
    kv_used: float
    kv_total: float
    states: Mapping[str, float]
    classes: Mapping[str, Streams]
    tokens: float | None

    @property
    def readers(self) -> Streams:
        """Its streams that somebody reads."""
        return total(self.classes.get(name, Streams()) for name in READERS)


@dataclass(frozen=True, slots=True)
class Router:
    """All routers of the fleet.

    Attributes:
        outcomes: Decisions since they began, by how they ended.
        on_their_way: Streams sent that no report shows yet.
        oldest_report_s: Age of the oldest report that one of them used last.
    """

    outcomes: Mapping[str, float]
    on_their_way: float
    oldest_report_s: float | None


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything at one moment; replicas in the order of their names."""

    replicas: Sequence[Replica]
    router: Router

    def of_class(self, name: str) -> Streams:
        """The streams of a class on all replicas."""
        return total(replica.classes.get(name, Streams()) for replica in self.replicas)


def total(streams: Iterable[Streams]) -> Streams:
    """All of them together."""
    return sum(streams, Streams())


def read_fleet(pages: Iterable[str]) -> Fleet:
    """What the pages say together; a replica that is gone is not in it.

    Ray drops the gauges of a dead replica, and keeps its counters.

    Raises:
        ValueError: A page is not in Prometheus's text format.
    """
    samples: _Samples = defaultdict(list)
    for page in pages:
        for family in text_string_to_metric_families(_relevant(page)):
            for sample in family.samples:
                samples[sample.name].append((sample.labels, sample.value))
    names = {
        labels["replica"]: labels["policy"]
        for labels, _ in samples[catalogue.INFO.exposed]
        if {"replica", "policy"} <= set(labels)
    }
    replicas = [_replica(samples, name, names[name]) for name in sorted(names)]
    return Fleet(replicas, _router(samples))


_Samples = defaultdict[str, list[tuple[dict[str, str], float]]]


def _relevant(page: str) -> str:
    # Nine tenths of a page are somebody else's, and reading it takes ten times as long.
    prefix = catalogue.RAY_PREFIX + "andes_"
    return "".join(
        line for line in page.splitlines(keepends=True) if line.startswith((prefix, TOKENS))
    )


def _replica(samples: _Samples, name: str, policy: str) -> Replica:
    mine: _Samples = defaultdict(list)
    for metric, found in samples.items():
        label = TOKENS_REPLICA if metric == TOKENS else "replica"
        mine[metric] = [(labels, v) for labels, v in found if labels.get(label) == name]
    blocks = _by(mine, catalogue.KV_BLOCKS, "state")
    return Replica(
        name=name,
        policy=policy,
        kv_used=blocks.get("used", 0.0),
        kv_total=blocks.get("total", 0.0),
        states=_by(mine, catalogue.STREAMS, "state"),
        classes=_classes(mine),
        tokens=sum(v for _, v in mine[TOKENS]) if mine[TOKENS] else None,
    )


def _classes(samples: _Samples) -> dict[str, Streams]:
    columns = [
        _by(samples, metric, CLASS_LABEL)
        for metric in (
            catalogue.ACTIVE,
            catalogue.BELOW_TARGET,
            catalogue.FINISHED,
            catalogue.QOE_SUM,
        )
    ]
    return {name: Streams(*(c.get(name, 0.0) for c in columns)) for name in CLASSES}


def _router(samples: _Samples) -> Router:
    ages_s = [age_s for _, age_s in samples[catalogue.REPORT_AGE_S.exposed]]
    return Router(
        outcomes=_by(samples, catalogue.DECISIONS, "outcome"),
        on_their_way=sum(v for _, v in samples[catalogue.LEDGER.exposed]),
        oldest_report_s=max(ages_s, default=None),
    )


def _by(samples: _Samples, metric: catalogue.Metric, label: str) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for labels, value in samples[metric.exposed]:
        sums[labels.get(label, "")] += value
    return dict(sums)
