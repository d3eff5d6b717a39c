"""The catalogue: names that Prometheus takes, classes that are closed, series that fit."""

import re

import pytest

from qoe import PROFILES, Expectation
from telemetry import catalogue
from telemetry.catalogue import CATALOGUE, Metric, class_of
from telemetry.report import TARGET_QOE

REPLICAS, ROUTERS, MAX_SERIES = 16, 5, 1536
# What Ray, Serve and vLLM put on series of their own accord.
TAKEN_LABELS = {"application", "deployment", "replica", "WorkerId", "NodeAddress", "le"}


def series_of(source: str) -> int:
    return sum(metric.num_series for metric in CATALOGUE if metric.source == source)


def test_sixteen_replicas_and_their_routers_stay_within_their_series() -> None:
    total = REPLICAS * series_of("engine") + ROUTERS * series_of("router")
    assert 1000 < total <= MAX_SERIES


def test_names_are_unique_also_with_what_a_histogram_adds() -> None:
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    taken = {
        f"{m.name}_{s}" for m in CATALOGUE if m.bounds for s in ("bucket", "sum", "count")
    }
    assert not taken & set(names)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_names_labels_and_texts_are_what_prometheus_and_people_read(metric: Metric) -> None:
    assert re.fullmatch(r"andes_[a-z0-9_]*[a-z0-9]", metric.name)
    assert not metric.name.endswith("_total"), "Ray adds it"
    assert metric.exposed.startswith("ray_") == (metric.source != "bench")
    assert metric.description.endswith(".") or metric.kind == "info"
    assert not TAKEN_LABELS & set(metric.labels)
    assert len(metric.tags) == len({tuple(t.items()) for t in metric.tags})


@pytest.mark.parametrize("metric", [m for m in CATALOGUE if m.bounds], ids=lambda m: m.name)
def test_buckets_rise_to_the_highest_value_with_the_target_on_an_edge(
    metric: Metric,
) -> None:
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert metric.bounds[0] > 0
    assert metric.bounds[-1] == 1.0
    assert TARGET_QOE in metric.bounds


@pytest.mark.parametrize("name", PROFILES)
def test_numbers_of_a_profile_are_its_class_whatever_the_weight(name: str) -> None:
    profile = PROFILES[name].expectation
    assert class_of(Expectation(profile.ttft_s, profile.tds, weight=3.0)) == name
    assert class_of(Expectation(profile.ttft_s, profile.tds + 0.1)) == catalogue.CUSTOM
