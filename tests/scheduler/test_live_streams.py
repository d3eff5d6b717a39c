import numpy as np
import pytest

from qoe import Expectation, Progress
from scheduler.live_streams import NEVER_S, LiveStreams
from telemetry.report import MAX_KEYS

READER = Expectation(1.0, 5.0)


def streams_with(*request_ids: str) -> LiveStreams:
    streams = LiveStreams()
    for request_id in request_ids:
        streams.add(request_id, READER, arrived_at_s=0.0, prompt_tokens=100)
    return streams


def test_deliveries_of_a_step_count_together_after_the_flush() -> None:
    streams = streams_with("a", "b")
    streams.delivered("a", 1)
    streams.delivered("a", 2)
    streams.delivered("b", 1)
    assert streams.tokens_total == 0
    streams.flush(now_s=0.5)
    assert streams.context_tokens(streams.slots(["a", "b"])).tolist() == [103.0, 101.0]
    assert streams.tokens_total == 4


def test_a_stream_begun_elsewhere_is_one_that_has_begun() -> None:
    streams = LiveStreams()
    progress = Progress(tokens=20, age_s=10.0)
    streams.add("a", READER, arrived_at_s=50.0, prompt_tokens=120, progress=progress)
    slots = streams.slots(["a"])
    assert streams.readers.arrived_at_s[slots] == 40.0
    # Four seconds of text, thought to have been begun a second after the first request.
    assert streams.readers.slack_s(slots, 50.0) == pytest.approx(-5.0)
    assert streams.context_tokens(slots) == 120.0
    assert streams.promised_tokens_per_s == READER.tds
    streams.admitted(["a"], now_s=51.0)
    streams.delivered("a", 5)
    streams.flush(51.5)
    assert streams.context_tokens(slots) == 125.0
    streams.remove("a", 52.0)
    assert streams.mean_output_tokens == 25.0
    assert streams.tokens_total == 5


def test_a_preempted_stream_keeps_its_reader_and_its_count() -> None:
    streams = streams_with("a")
    slot = streams.slots(["a"])
    streams.admitted(["a"], now_s=1.0)
    streams.delivered("a", 10)
    streams.flush(now_s=1.0)
    streams.preempted("a", now_s=2.0)
    assert streams.resident_since_s[slot] == NEVER_S
    assert streams.preemptions[slot] == 1
    assert streams.readers.delivered_tokens[slot] == 10
    assert streams.readers.slack_s(slot, 2.0)[0] == pytest.approx(1.0)


def test_tokens_of_a_stream_that_ends_within_the_step_are_not_lost() -> None:
    streams = streams_with("a")
    streams.delivered("a", 7)
    streams.remove("a", 20.0)
    streams.flush(now_s=1.0)
    assert streams.tokens_total == 7
    assert streams.mean_output_tokens == 7
    assert not len(streams)


def test_adding_or_removing_twice_changes_nothing() -> None:
    streams = streams_with("a", "a")
    assert streams.accepted_total == 1
    streams.remove("a", 20.0)
    streams.remove("a", 20.0)
    assert streams.finished_total == 1


def test_a_reused_slot_starts_clean_and_columns_grow_with_the_readers() -> None:
    streams = streams_with("old")
    streams.preempted("old", 1.0)
    streams.remove("old", 20.0)
    for number in range(1000):
        streams.add(str(number), READER, 0.0, prompt_tokens=number)
    slots = streams.slots(str(number) for number in range(1000))
    assert streams.preemptions[slots].sum() == 0
    assert np.array_equal(streams.prompt_tokens[slots], np.arange(1000))


def test_the_newest_keys_are_kept_once_each_oldest_first() -> None:
    streams = LiveStreams()
    for number in range(2 * MAX_KEYS):
        for _ in range(2):
            streams.add(str(number), READER, 0.0, 10, key=number)
    streams.add("unknown to routers", READER, 0.0, 10)
    assert [*streams.accepted_keys] == [*range(MAX_KEYS, 2 * MAX_KEYS)]


def test_the_paces_of_readers_who_have_begun_or_hold_memory_are_promised() -> None:
    streams = streams_with("waits", "holds_memory", "lost_memory")
    streams.admitted(["holds_memory", "lost_memory"], now_s=1.0)
    streams.delivered("lost_memory", 1)
    streams.flush(now_s=1.0)
    streams.preempted("lost_memory", now_s=2.0)
    assert streams.promised_tokens_per_s == 2 * READER.tds
    streams.remove("holds_memory", 20.0)
    assert streams.promised_tokens_per_s == READER.tds
