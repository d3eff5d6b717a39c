"""What the metrics cost an engine, beside the shortest steps that there are."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("vllm")

from bench.replay.profiles import latency_profile
from scheduler.metering import PERIOD_S, Meter
from telemetry.engine_metrics import encode

PROFILE = "llama-3.1-8b/h100-sxm-80gb/tp1"
MAX_SHARE = 0.01
REPEATS = 30


class Wire:
    """A publisher that keeps what is published."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def publish(self, state: Any) -> None:
        self.told.append(state)

    def close(self) -> None:
        pass


def fastest_s(call: Callable[[], Any]) -> float:
    """Of many: what the machine does beside it is no cost of ours."""
    return min(timeit.repeat(call, number=1, repeat=REPEATS))


@pytest.mark.parametrize("running", [8, 64, 200])
def test_metrics_cost_less_than_a_hundredth_of_a_step(make_engine, burst, running) -> None:
    load = [replace(stream, arrival_s=0.0) for stream in burst(running)]
    engine = make_engine(16 * running, load=load)
    scheduler, reports = engine.scheduler, Wire()
    scheduler._reporter._publisher = reports
    while not reports.told or reports.told[-1].running < running:
        engine.step()
    meter, streams, report = Meter(Wire(), "andes"), scheduler.streams, reports.told[-1]
    slots, now_s = streams.all_slots(), engine.now_s

    def once_a_second() -> None:
        encode(meter.build(report, scheduler.activity, streams, now_s))

    step_s = latency_profile(PROFILE).decode_ms.a / 1000.0
    per_step_s = fastest_s(lambda: streams.figures.delivering(slots, now_s))
    share = per_step_s / step_s + fastest_s(once_a_second) / PERIOD_S
    assert share < MAX_SHARE
    while scheduler.requests:
        engine.step()
