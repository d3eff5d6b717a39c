"""Readers' words between a replica and its engine: never in the way, and bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
import zmq

from qoe import Feedback
from telemetry.channel import new_endpoint
from telemetry.feedback import (
    MAX_A_STEP,
    MAX_WAITING,
    FeedbackReceiver,
    FeedbackSender,
    ReaderFeedback,
)

WORD = ReaderFeedback(("a",), Feedback(buffer_tokens=3.0))


def until(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def endpoint() -> str:
    return new_endpoint()


@pytest.fixture
def replica(endpoint: str) -> Iterator[FeedbackSender]:
    with FeedbackSender(endpoint) as sender:
        yield sender


@pytest.fixture
def engine(endpoint: str, replica: FeedbackSender) -> Iterator[FeedbackReceiver]:
    with FeedbackReceiver(endpoint) as receiver:
        assert until(lambda: replica.send(ReaderFeedback((), Feedback())))
        yield receiver


def test_without_an_engine_nothing_waits_and_nothing_is_kept(
    replica: FeedbackSender,
) -> None:
    began_s = time.monotonic()
    assert not any(replica.send(WORD) for _ in range(100))
    assert time.monotonic() - began_s < 10.0


def test_words_about_different_streams_do_not_replace_each_other(
    replica: FeedbackSender, engine: FeedbackReceiver
) -> None:
    said = [(str(i), Feedback(paused=bool(i % 2), tds=1.0 + i)) for i in range(50)]
    for name, feedback in said:
        assert replica.send(ReaderFeedback((name,), feedback))
    heard: list[tuple[str, Feedback]] = []
    assert until(lambda: heard.extend(engine.take()) or len(heard) == 50)
    assert heard == said


def test_a_step_takes_so_many_and_no_more(
    replica: FeedbackSender, engine: FeedbackReceiver
) -> None:
    for _ in range(3 * MAX_A_STEP):
        replica.send(WORD)
    time.sleep(0.5)
    assert len(engine.take()) <= MAX_A_STEP
    assert until(lambda: not engine.take())


def test_what_an_engine_does_not_fetch_is_dropped_in_the_end(
    replica: FeedbackSender, engine: FeedbackReceiver
) -> None:
    kept = sum(replica.send(WORD) for _ in range(20 * MAX_WAITING))
    # Each end keeps so many, and a kernel's buffer is in between.
    assert kept < 10 * MAX_WAITING


def test_what_is_none_of_ours_is_counted_and_passed_over(
    endpoint: str, replica: FeedbackSender, engine: FeedbackReceiver
) -> None:
    for message in (b"", b"nonsense", msgspec.msgpack.encode([["a"], {"paused": "yes"}])):
        replica._socket.send(message, zmq.NOBLOCK)
    replica.send(WORD)
    heard: list[tuple[str, Feedback]] = []
    assert until(lambda: heard.extend(engine.take()) or bool(heard))
    assert heard == [("a", Feedback(buffer_tokens=3.0))]
    assert engine.refused_total == 3


def test_a_closed_end_is_quiet(endpoint: str) -> None:
    engine = FeedbackReceiver(endpoint)
    engine.close()
    engine.close()
    assert engine.take() == []


@pytest.mark.parametrize("said", [{"tds": float("nan")}, {"buffer_tokens": float("-inf")}])
def test_a_word_out_of_range_is_refused_and_the_next_one_heard(
    endpoint: str, said: dict[str, float]
) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.bind(endpoint)
    with FeedbackReceiver(endpoint) as engine:
        socket.send(msgspec.msgpack.encode([["a"], said]))
        socket.send(msgspec.msgpack.encode(WORD))
        heard: list[tuple[str, Feedback]] = []
        assert until(lambda: heard.extend(engine.take()) or bool(heard))
        assert heard == [("a", WORD.feedback)]
        assert engine.refused_total == 1
    context.destroy(linger=0)
