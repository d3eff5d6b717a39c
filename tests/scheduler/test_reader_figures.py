"""What is added up of finished readers is what `qoe.metrics` says of each, exactly."""

import time

import numpy as np
import pytest

from qoe import PROFILES, Expectation, area_qoe, stall_s
from scheduler.live_streams import LiveStreams
from telemetry import catalogue

READING = PROFILES["reading"].expectation
CUSTOM = Expectation(ttft_s=0.5, tds=7.0)


def class_value(streams: LiveStreams, metric: catalogue.Metric, name: str, now_s=0.0):
    values = streams.figures.values(streams.all_slots(), now_s)[metric.name]
    return values[catalogue.CLASSES.index(name)]


def live(streams: LiveStreams, name: str, reader: Expectation, times: np.ndarray) -> None:
    """A whole life: one token at each time, the last one within the step it ends in."""
    streams.add(name, reader, 0.0, prompt_tokens=10)
    for now_s in times[:-1]:
        streams.delivered(name, 1)
        streams.flush(now_s)
    streams.delivered(name, 1)
    streams.remove(name, times[-1])


@pytest.mark.parametrize("reader", [READING, CUSTOM], ids=["reading", "custom"])
def test_sums_of_many_streams_are_exact(reader: Expectation) -> None:
    rng = np.random.default_rng(7)
    streams, name = LiveStreams(), catalogue.class_of(reader)
    lives = [np.cumsum(rng.exponential(rng.choice([0.05, 0.6]), 40)) for _ in range(50)]
    for number, times in enumerate(lives):
        live(streams, str(number), reader, times)
    scores = [area_qoe(times, reader) for times in lives]
    assert min(scores) < 0.8 < max(scores)
    assert class_value(streams, catalogue.FINISHED, name) == 50
    total = class_value(streams, catalogue.QOE_SUM, name)
    assert total == pytest.approx(sum(scores), abs=1e-9)
    stalled_s = class_value(streams, catalogue.STALL_S, name)
    assert stalled_s == pytest.approx(sum(stall_s(t, reader) for t in lives))
    ttft = class_value(streams, catalogue.TTFT_RATIO_SUM, name)
    assert ttft == pytest.approx(sum(t[0] for t in lives) / reader.ttft_s)
    paces = [min(1.0, 39 / reader.tds / (t[-1] - t[0])) for t in lives]
    pace = class_value(streams, catalogue.PACE_RATIO_SUM, name)
    assert pace == pytest.approx(sum(paces))


def test_every_score_is_in_the_bucket_that_prometheus_would_put_it_in() -> None:
    rng = np.random.default_rng(3)
    streams = LiveStreams()
    lives = [np.cumsum(rng.exponential(rng.choice([0.01, 0.4]), 30)) for _ in range(40)]
    for number, times in enumerate(lives):
        live(streams, str(number), READING, times)
    counts = streams.figures.values(streams.all_slots(), 0.0)[catalogue.QOE.name]
    buckets = len(catalogue.QOE_BOUNDS) + 1
    of_reading = np.cumsum(counts[:buckets])
    scores = np.array([area_qoe(times, READING) for times in lives])
    expected = [(scores <= edge).sum() for edge in catalogue.QOE_BOUNDS]
    assert of_reading[:-1].tolist() == expected
    assert sum(counts[buckets:]) == 0


def test_a_reader_who_leaves_counts_for_what_he_had_until_then() -> None:
    streams = LiveStreams()
    for name in ("soon", "late", "reads"):
        streams.add(name, READING, 0.0, prompt_tokens=10)
    streams.remove("soon", 0.5, has_left=True)
    assert class_value(streams, catalogue.QOE_SUM, "reading") == 1.0
    streams.remove("late", 9.0, has_left=True)
    assert class_value(streams, catalogue.QOE_SUM, "reading") == 1.0
    streams.delivered("reads", 100)
    streams.flush(1.0)
    streams.remove("reads", 9.0, has_left=True)
    assert class_value(streams, catalogue.QOE_SUM, "reading") == pytest.approx(2.0)
    assert class_value(streams, catalogue.FINISHED, "reading") == 3


def test_a_stream_without_a_token_scores_nothing_and_has_no_pace() -> None:
    streams = LiveStreams()
    streams.add("failed", READING, 0.0, prompt_tokens=10)
    streams.remove("failed", 3.0)
    assert class_value(streams, catalogue.QOE_SUM, "reading") == 0.0
    assert class_value(streams, catalogue.PACE_RATIO_SUM, "reading") == 0.0
    assert class_value(streams, catalogue.TTFT_RATIO_SUM, "reading") == 3.0


def test_live_streams_are_counted_by_class_and_nobody_has_no_slack() -> None:
    streams = LiveStreams()
    for number in range(300):
        streams.add(str(number), CUSTOM if number % 3 else READING, 0.0, 10)
    assert class_value(streams, catalogue.ACTIVE, "reading", 0.2) == 100
    assert class_value(streams, catalogue.ACTIVE, "custom", 0.2) == 200
    assert class_value(streams, catalogue.BELOW_TARGET, "custom", 0.2) == 0
    assert class_value(streams, catalogue.BELOW_TARGET, "custom", 5.0) == 200
    assert class_value(streams, catalogue.SLACK_S, "reading", 0.2) == pytest.approx(0.8)
    assert class_value(streams, catalogue.SLACK_S, "listening", 0.2) is None


def test_counting_costs_a_step_of_500_streams_at_most_a_hundredth() -> None:
    step_s, rounds = 0.02, 200
    streams = LiveStreams()
    for number in range(500):
        streams.add(str(number), READING, 0.0, 10)
    slots = streams.all_slots()
    streams.readers.deliver(slots, np.ones(500), 1.0)
    took_s = []
    for number in range(rounds):
        started_s = time.perf_counter()
        streams.figures.delivering(slots, 2.0 + number)
        took_s.append(time.perf_counter() - started_s)
    # A busy machine takes its time now and then; what the work costs is the median.
    assert float(np.median(took_s)) <= 0.01 * step_s
