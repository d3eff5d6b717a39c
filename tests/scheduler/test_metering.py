"""The real scheduler in virtual time: its metrics are what happened, once a second."""

import itertools
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

pytest.importorskip("vllm")

from scheduler.metering import Meter
from telemetry import catalogue
from telemetry.engine_metrics import EngineMetrics, decode, encode


class Listener:
    """A publisher that keeps what is published."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def publish(self, state: Any) -> None:
        self.told.append(state)

    def close(self) -> None:
        pass


@pytest.fixture
def metered(make_engine, burst) -> Any:
    """Runs a load that does not fit; returns the engine and all that was told."""

    def run(**settings: Any) -> tuple[Any, list[EngineMetrics]]:
        engine = make_engine(32, load=burst(30), settings=settings)
        listener, reporter = Listener(), engine.scheduler._reporter
        reporter._publisher = Listener()
        reporter._meter = Meter(listener, settings.get("policy", "andes"))
        while engine.scheduler.requests:
            engine.step()
        return engine, listener.told

    return run


def test_what_is_told_last_is_what_happened(metered) -> None:
    engine, told = metered()
    scheduler, values = engine.scheduler, told[-1].values
    assert set(values) == {m.name for m in catalogue.ENGINE_METRICS if m.kind != "info"}
    assert decode(encode(told[-1])) == told[-1]
    assert sum(values["andes_streams_finished"]) == 30
    assert sum(values["andes_qoe_score"]) == 30
    assert sum(values["andes_preemptions"]) == scheduler.streams.preemptions_total > 0
    assert values["andes_resumes"] == (scheduler.streams.preemptions_total,)
    assert values["andes_plans"][0] > 0
    assert values["andes_plan_seconds"][0] > 0
    assert values["andes_fallback_steps"] == (0,)
    steps_s, error_s = (
        values["andes_step_seconds"][0],
        values["andes_step_time_error_seconds"],
    )
    assert 0 < error_s[0] < steps_s
    assert sum(values["andes_streams_active"]) == sum(values["andes_streams"]) == 0
    assert values["andes_kv_blocks"] == (0, 32)


def test_it_is_told_once_a_second_and_when_the_last_one_goes(metered) -> None:
    engine, told = metered()
    assert 2 <= len(told) <= engine.now_s + 2
    assert [m.seq for m in told] == list(range(1, len(told) + 1))


def test_totals_never_fall(metered) -> None:
    _, told = metered()
    totals = [
        m.name for m in catalogue.ENGINE_METRICS if m.kind in ("counter", "histogram")
    ]
    for before, after in itertools.pairwise(told):
        for name in totals:
            pairs = zip(before.values[name], after.values[name], strict=True)
            assert all(old <= new for old, new in pairs), name


def test_the_info_names_the_policy(metered) -> None:
    _, told = metered(policy="fcfs")
    assert told[-1].info["policy"] == "fcfs"
    assert told[-1].values["andes_plans"] == (0,)


def test_an_engine_starts_from_a_source_tree_that_nobody_installed(
    make_engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("scheduler.metering.version", version)
    engine = make_engine(32)
    meter = engine.scheduler._reporter._meter
    assert meter._info["version"] == "unknown"
