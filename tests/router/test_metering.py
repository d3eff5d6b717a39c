"""A router's metrics say what its chooser did, and go on while nobody asks."""

import asyncio
import gc
from collections import Counter
from types import SimpleNamespace
from typing import Any

from router.chooser import Chooser
from router.metering import RouterMetrics, values_of
from router.settings import RouterSettings
from telemetry import catalogue
from telemetry.report import EngineReport
from telemetry.routing_stats import to_routing_stats


class Router:
    """What has a chooser."""

    def __init__(self) -> None:
        self.chooser = Chooser(RouterSettings(seed=1), now_s=lambda: 10.0)


class Gauges:
    """A framework that counts how often each metric was told."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    def Gauge(self, name: str, **_: Any) -> Any:  # noqa: N802 - as Ray calls it
        def tell(*_: Any, **__: Any) -> None:
            self.told[name] += 1

        return SimpleNamespace(set=tell, inc=tell, set_default_tags=lambda _: None)

    Counter = Histogram = Gauge


def report(**changes: Any) -> EngineReport:
    fields: dict[str, Any] = {
        "epoch": "e", "seq": 1, "kv_blocks_total": 100, "kv_blocks_used": 10,
        "block_size_tokens": 16, "kv_blocks_preemptible": (0, 0, 0, 0),
        "demand_tokens": 160, "running": 1, "waiting": 0, "preempted": 0,
        "accepted_total": 1, "finished_total": 0, "preemptions_total": 0,
        "plan_failures_total": 0, "tokens_total": 5, "mean_output_tokens": 0.0,
        "step_time_s": 0.01, "qoe_mean": 1.0, "qoe_p5": 1.0,
    }  # fmt: skip
    return EngineReport(**(fields | changes))


def test_decisions_are_told_by_how_they_were_made() -> None:
    chooser = Router().chooser
    chooser.choose([("a", {})], None)
    chooser.choose([("a", to_routing_stats(report()))], None)
    chooser.fall_back(1, "scoring failed", ValueError("bug"))
    values = values_of(chooser)
    decisions = dict(
        zip(
            catalogue.DECISIONS.labels["outcome"],
            values["andes_router_decisions"],
            strict=True,
        )
    )
    assert decisions == {"scored": 1, "no_report": 1, "error": 1, "held": 0, "shed": 0}
    assert set(values) == {metric.name for metric in catalogue.ROUTER_METRICS}


def test_a_replica_that_never_reported_has_no_age() -> None:
    chooser = Router().chooser
    chooser.choose([("a", {})], None)
    assert values_of(chooser)["andes_router_oldest_report_seconds"] == (None,)


async def test_it_is_told_again_and_again_until_the_router_goes() -> None:
    gauges, router = Gauges(), Router()
    metrics = RouterMetrics(gauges, {"application": "andes"}, router, period_s=0.01)
    metrics.start()
    metrics.start()
    await asyncio.sleep(0.1)
    told = gauges.told["andes_router_ledger_streams"]
    assert 3 <= told <= 12
    del router
    gc.collect()
    await asyncio.sleep(0.05)
    ended_at = gauges.told["andes_router_ledger_streams"]
    await asyncio.sleep(0.05)
    assert gauges.told["andes_router_ledger_streams"] == ended_at <= told + 2


def test_without_an_event_loop_nothing_begins() -> None:
    gauges = Gauges()
    RouterMetrics(gauges, {}, Router()).start()
    assert not gauges.told
