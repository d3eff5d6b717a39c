"""State in, metrics out: whatever is told late, twice or not at all, totals are right."""

from collections import Counter
from typing import Any

import pytest

from telemetry import catalogue
from telemetry.catalogue import Metric
from telemetry.instruments import Instruments

STREAMS = Metric("finished", "counter", "engine", "Ends.", {"kind": ("a", "b")})
NOW = Metric("now", "gauge", "engine", "Now.")
SCORE = Metric("score", "histogram", "engine", "Score.", {"kind": ("a", "b")}, (0.5, 1.0))


class Recorder:
    """A framework that adds up, and refuses what Ray refuses."""

    def __init__(self) -> None:
        self.sums: Counter[Any] = Counter()
        self.sets: list[Any] = []
        self.observed: Counter[Any] = Counter()
        self.made: dict[str, dict[str, Any]] = {}

    def Counter(self, name: str, **more: Any) -> Any:  # noqa: N802 - as Ray calls it
        return _Instrument(self, name, more)

    Gauge = Histogram = Counter


class _Instrument:
    def __init__(self, recorder: Recorder, name: str, made: dict[str, Any]) -> None:
        recorder.made[name] = made
        self._recorder, self._name = recorder, name

    def set_default_tags(self, tags: dict[str, str]) -> None:
        self._recorder.made[self._name]["default_tags"] = tags

    def inc(self, amount: float, tags: dict[str, str]) -> None:
        if amount <= 0:
            raise ValueError(amount)
        self._recorder.sums[self._name, *tags.values()] += amount

    def set(self, value: float, tags: dict[str, str]) -> None:
        self._recorder.sets.append((self._name, value, tags))

    def observe(self, value: float, tags: dict[str, str]) -> None:
        self._recorder.observed[self._name, *tags.values(), value] += 1


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_totals_come_out_right_however_often_they_are_told(recorder: Recorder) -> None:
    instruments = Instruments(recorder, [STREAMS])
    for values in [(1, 0), (1, 0), (4, 2.5), (4, 2.5)]:
        instruments.publish("first", {"finished": values})
    assert recorder.sums == {("finished", "a"): 4, ("finished", "b"): 2.5}


def test_an_engine_that_starts_again_adds_to_what_was(recorder: Recorder) -> None:
    instruments = Instruments(recorder, [STREAMS])
    instruments.publish("first", {"finished": (5, 0)})
    instruments.publish("second", {"finished": (2, 1)})
    assert recorder.sums == {("finished", "a"): 7, ("finished", "b"): 1}


def test_every_counter_is_there_before_its_first_event(recorder: Recorder) -> None:
    Instruments(recorder, [STREAMS]).publish("first", {})
    assert set(recorder.sums) == {("finished", "a"), ("finished", "b")}
    assert sum(recorder.sums.values()) == pytest.approx(0.0)


def test_gauges_are_set_every_time_and_those_without_a_value_never(
    recorder: Recorder,
) -> None:
    instruments = Instruments(recorder, [NOW])
    for value in (3.0, 3.0, None):
        instruments.publish("first", {"now": (value,)})
    assert recorder.sets == [("now", 3.0, {})] * 2


def test_every_new_score_is_observed_once_in_its_bucket(recorder: Recorder) -> None:
    instruments = Instruments(recorder, [SCORE])
    instruments.publish("first", {"score": (1, 0, 0, 0, 2, 0)})
    instruments.publish("first", {"score": (1, 3, 0, 0, 2, 1)})
    assert recorder.observed == {
        ("score", "a", 0.5): 1,
        ("score", "a", 1.0): 3,
        # What is above the last edge is no more than that.
        ("score", "b", 1.0): 3,
    }


def test_the_catalogue_is_made_as_ray_wants_it(recorder: Recorder) -> None:
    Instruments(recorder, catalogue.ENGINE_METRICS, {"application": "andes"})
    assert set(recorder.made) == {m.name for m in catalogue.ENGINE_METRICS}
    score = recorder.made[catalogue.QOE.name]
    assert score["boundaries"] == [*catalogue.QOE_BOUNDS]
    assert score["tag_keys"] == ("application", catalogue.CLASS_LABEL)
    assert score["default_tags"] == {"application": "andes"}


def test_the_info_carries_what_it_is_told(recorder: Recorder) -> None:
    instruments = Instruments(recorder, [catalogue.INFO])
    instruments.publish("first", {}, {"policy": "andes", "version": "1"})
    told = {"policy": "andes", "version": "1"}
    assert recorder.sets == [(catalogue.INFO.name, 1.0, told)]
