"""A replica tells what its engine said, again and again, until it is closed."""

import os
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from deployments.metrics import ReplicaMetrics
from telemetry import catalogue
from telemetry.engine_metrics import EngineMetrics, MetricsPublisher


class Framework:
    """Adds up what counters are told, and counts how often gauges are."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.sets: Counter[str] = Counter()

    def Counter(self, name: str, **_: Any) -> Any:  # noqa: N802 - as Ray calls it
        def inc(amount: float, tags: dict[str, str]) -> None:
            self.sums[name] += amount  # type: ignore[assignment]

        return SimpleNamespace(inc=inc, observe=lambda *_, **__: None)

    def Gauge(self, name: str, **_: Any) -> Any:  # noqa: N802
        def put(_: float, tags: dict[str, str]) -> None:
            self.sets[name] += 1

        return SimpleNamespace(set=put)

    Histogram = Counter


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def told(seq: int, finished: float) -> EngineMetrics:
    values = {m.name: (0.0,) * m.num_values for m in catalogue.ENGINE_METRICS}
    values[catalogue.FINISHED.name] = (finished,) * len(catalogue.CLASSES)
    return EngineMetrics(epoch="e", seq=seq, info={"policy": "andes"}, values=values)


def test_gauges_go_on_while_the_engine_is_silent_and_totals_count_once() -> None:
    before, framework = set(os.listdir("/proc/self/fd")), Framework()
    metrics = ReplicaMetrics(framework, period_s=0.01)
    with MetricsPublisher(metrics.engine_endpoint) as engine:
        for seq, finished in [(1, 2.0), (2, 5.0)]:
            engine.publish(told(seq, finished))
            total = finished * len(catalogue.CLASSES)
            until(lambda total=total: framework.sums[catalogue.FINISHED.name] == total)
    sets = framework.sets[catalogue.ACTIVE.name]
    until(lambda: framework.sets[catalogue.ACTIVE.name] > sets + 20)
    assert framework.sums[catalogue.FINISHED.name] == 5.0 * len(catalogue.CLASSES)
    metrics.close()
    metrics.close()
    sets = framework.sets[catalogue.ACTIVE.name]
    time.sleep(0.05)
    assert framework.sets[catalogue.ACTIVE.name] == sets
    assert set(os.listdir("/proc/self/fd")) <= before


def test_before_the_engine_says_anything_nothing_is_told() -> None:
    framework = Framework()
    metrics = ReplicaMetrics(framework, period_s=0.01)
    time.sleep(0.1)
    metrics.close()
    assert not framework.sets
    assert not framework.sums


def test_whoever_the_replica_refused_is_counted_beside_those_of_the_engine() -> None:
    framework: Any = Framework()
    metrics = ReplicaMetrics(framework, period_s=0.01)
    metrics.num_refused = lambda: 3
    publisher = MetricsPublisher(metrics.engine_endpoint)
    publisher.publish(told(1, finished=0.0))
    name = catalogue.REFUSED.name
    until(lambda: framework.sums[name] >= 3)
    metrics.num_refused = lambda: 4
    until(lambda: framework.sums[name] >= 4)
    metrics.close()
    publisher.close()
    assert round(framework.sums[name]) == 4
