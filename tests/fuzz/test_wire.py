"""What comes over a socket is what it must be, or it is refused, and nothing happens."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from qoe import ExpectationError, Feedback, parse_feedback
from router.replica_load import load_of
from router.report_book import ReportBook
from telemetry.channel import new_endpoint
from telemetry.feedback import FeedbackReceiver, ReaderFeedback
from telemetry.report import (
    MAX_COUNT,
    EngineReport,
    ReportError,
    contradiction,
    decode,
    encode,
    from_mapping,
)
from telemetry.routing_stats import KEY, endpoint_of, from_routing_stats, to_routing_stats

REPORT = EngineReport(
    epoch="first",
    seq=1,
    kv_blocks_total=1000,
    kv_blocks_used=100,
    block_size_tokens=16,
    kv_blocks_preemptible=(90, 60, 30, 0),
    demand_tokens=1600,
    running=4,
    waiting=1,
    preempted=1,
    accepted_total=9,
    finished_total=4,
    preemptions_total=2,
    plan_failures_total=0,
    tokens_total=5000,
    mean_output_tokens=211.4,
    step_time_s=0.01234,
    qoe_mean=0.987,
    qoe_p5=0.71,
    marginal_loss=(0.1,) * 63,
    slack_histogram=(1,) * 8,
    accepted_keys=(1, 2, 3),
)
WORD = {"buffer_tokens": 12.5, "paused": True, "tds": 6}
LAST = ReaderFeedback(("the last one",), Feedback(paused=False))
PATIENCE_S = 20.0


def require_sound(report: EngineReport) -> None:
    """A report that anybody can reckon with."""
    for name, value in msgspec.structs.asdict(report).items():
        for number in value if isinstance(value, tuple) else (value,):
            if name in ("epoch", "accepted_keys"):
                continue
            assert math.isfinite(number), name
            assert -1.0 <= number <= max(MAX_COUNT, 2**63), name


def require_word(feedback: Feedback) -> None:
    """A word that a client may say."""
    said = {k: v for k, v in msgspec.to_builtins(feedback).items() if v is not None}
    assert not said or parse_feedback(said) == feedback


@given(st.data())
def test_bytes_are_a_sound_report_or_none(fuzz: Any, data: st.DataObject) -> None:
    message = data.draw(fuzz.garbled(encode(REPORT)))
    try:
        report = decode(message)
    except ReportError:
        return
    require_sound(report)
    assert decode(encode(report)) == report


@given(st.data())
def test_fields_are_a_sound_report_or_none(fuzz: Any, data: st.DataObject) -> None:
    stats = data.draw(fuzz.changed(msgspec.to_builtins(REPORT)))
    try:
        report = from_mapping(stats)
    except ReportError:
        assert from_routing_stats({KEY: stats}) is None
        return
    require_sound(report)
    assert contradiction(report, REPORT) == contradiction(report, REPORT)
    again = from_routing_stats(to_routing_stats(report, "tcp://127.0.0.1:1"))
    assert again is not None
    require_sound(again)


@given(st.data())
def test_a_router_goes_on_whatever_its_replicas_say(fuzz: Any, data: st.DataObject) -> None:
    ticks = itertools.count()
    book = ReportBook(lambda: float(next(ticks)))
    for _ in range(data.draw(st.integers(1, 5))):
        replica = data.draw(st.sampled_from(["a", "b"]))
        stats = data.draw(fuzz.changed({KEY: msgspec.to_builtins(REPORT)}) | fuzz.values)
        endpoint_of(stats)
        book.read(replica, stats)
        assert book.age_s(replica) >= 0.0
        known = book.last(replica)
        if known is not None:
            require_sound(known.report)
            load_of(known.report)


@given(st.data())
def test_a_word_of_a_reader_is_within_its_ranges_or_refused(
    fuzz: Any, sentence: Callable[[object], str], data: st.DataObject
) -> None:
    body = data.draw(fuzz.changed(WORD) | fuzz.values)
    try:
        feedback = parse_feedback(body)
    except ExpectationError as error:
        said = error
    else:
        require_word(feedback)
        return
    assert sentence(said).startswith(f"{sentence(said.field)}=")


@pytest.fixture(scope="module")
def receive() -> Iterator[Callable[[bytes], list[tuple[str, Feedback]]]]:
    """What an engine makes of a message that somebody sends to it."""
    context, endpoint = zmq.Context(), new_endpoint()
    socket = context.socket(zmq.PUSH)
    socket.bind(endpoint)
    with FeedbackReceiver(endpoint) as receiver:

        def heard(message: bytes) -> list[tuple[str, Feedback]]:
            socket.send(message)
            socket.send(msgspec.msgpack.encode(LAST))
            told: list[tuple[str, Feedback]] = []
            until_s = time.monotonic() + PATIENCE_S
            while not told or told[-1] != (*LAST.request_ids, LAST.feedback):
                assert time.monotonic() < until_s
                told += receiver.take()
            return told[:-1]

        yield heard
    context.destroy(linger=0)


@given(st.data())
def test_an_engine_hears_sound_words_or_none(
    fuzz: Any, receive: Any, data: st.DataObject
) -> None:
    said = [["stream"], WORD]
    message = data.draw(
        fuzz.garbled(msgspec.msgpack.encode(said))
        | fuzz.changed(said).map(lambda word: msgspec.msgpack.encode(_small(word)))
    )
    for name, feedback in receive(message):
        assert isinstance(name, str)
        require_word(feedback)


def _small(value: Any) -> Any:
    """`value` without what msgpack cannot say."""
    if isinstance(value, dict):
        return {_small(k): _small(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_small(v) for v in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float("inf")
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return value
