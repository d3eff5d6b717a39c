"""The replica's end of a broadcast: what it says, when, and at what cost."""

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from telemetry.broadcast import (
    PERIOD_S,
    ReportBroadcaster,
    ReportListener,
)
from telemetry.report import MAX_KEYS, EngineReport

HOST = "127.0.0.1"
MakeReport = Callable[..., EngineReport]
NewEngine = Callable[..., Any]
UntilReceived = Callable[..., EngineReport]


def test_a_router_that_comes_late_hears_of_an_idle_replica(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
) -> None:
    engine = new_engine(make_report(running=0, waiting=0))
    with ReportBroadcaster(HOST, engine.latest) as replica:
        time.sleep(3 * PERIOD_S)
        listener.connect("late", replica.endpoint)
        assert until_received(listener, lambda r: True) == engine.report


def test_a_replica_says_at_once_that_it_no_longer_accepts(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
) -> None:
    """Also when its engine is idle and has nothing new to say, and to newest-seq-wins."""
    engine = new_engine(make_report(seq=7))
    with ReportBroadcaster(HOST, engine.latest, period_s=30.0) as replica:
        replica.set_accepting(True)
        listener.connect("r", replica.endpoint)
        time.sleep(0.3)
        told_at_s = time.monotonic()
        replica.set_accepting(False)
        drains = until_received(listener, lambda r: not r.accepting)
        assert time.monotonic() - told_at_s < 15.0
        assert drains.seq > 7
        assert replica.latest() == drains
        replica.set_accepting(True)
        assert until_received(listener, lambda r: r.accepting).seq > drains.seq


def test_a_request_that_has_ended_is_told_and_makes_no_old_report_new(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
) -> None:
    """An engine that is frozen says nothing; its clients leave, and change no number."""
    engine = new_engine(make_report(seq=7))
    with ReportBroadcaster(HOST, engine.latest) as replica:
        listener.connect("r", replica.endpoint)
        until_received(listener, lambda r: True)
        replica.add_ended(5)
        told = until_received(listener, lambda r: 5 in r.ended_keys)
        assert told.seq == 7
        for key in range(2 * MAX_KEYS):
            replica.add_ended(key)
        newest = tuple(range(MAX_KEYS, 2 * MAX_KEYS))
        until_received(listener, lambda r: r.ended_keys == newest)
        # In a while it is old news.
        until_received(listener, lambda r: not r.ended_keys)


def test_a_router_that_never_polls_costs_the_replica_neither_time_nor_memory(
    listener: ReportListener, make_report: MakeReport
) -> None:
    report = make_report(marginal_loss=(0.1,) * 63, accepted_keys=(2**62,) * 128)
    numbers = iter(range(1, 10**9))
    with ReportBroadcaster(
        HOST,
        lambda: make_report(
            seq=next(numbers),
            marginal_loss=report.marginal_loss,
            accepted_keys=report.accepted_keys,
        ),
        period_s=1e-5,
    ) as replica:
        listener.connect("r", replica.endpoint)
        time.sleep(0.5)
        resident, sent = _resident_bytes(), next(numbers)
        # Of 2 kB each: kept, they would be several times what is allowed.
        deadline_s = time.monotonic() + 60
        while next(numbers) - sent <= 3000:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert _resident_bytes() - resident < 2_000_000
        assert replica.failed_total == 0


def test_what_goes_wrong_in_a_broadcast_is_counted_and_told_once(
    listener: ReportListener,
    make_report: MakeReport,
    caplog: pytest.LogCaptureFixture,
    until_received: UntilReceived,
) -> None:
    answers: list[Any] = [OSError("gone"), OSError("gone"), make_report()]

    def latest() -> EngineReport:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer  # type: ignore[no-any-return]

    with ReportBroadcaster(HOST, latest) as replica:
        listener.connect("r", replica.endpoint)
        until_received(listener, lambda r: True)
        assert replica.failed_total == 2
    assert [r.message for r in caplog.records if r.name == "telemetry.broadcast"] == [
        "A report could not be broadcast; the next one may be."
    ]


def test_without_a_report_there_is_nothing_to_say(
    listener: ReportListener, new_engine: NewEngine
) -> None:
    with ReportBroadcaster(HOST, new_engine().latest) as replica:
        listener.connect("r", replica.endpoint)
        time.sleep(3 * PERIOD_S)
        assert replica.latest() is None
        assert listener.poll() == []
        assert replica.failed_total == 0


def test_closed_ends_neither_raise_nor_hold_the_port(
    make_report: MakeReport, new_engine: NewEngine
) -> None:
    listener = ReportListener()
    replica = ReportBroadcaster(HOST, new_engine(make_report()).latest)
    listener.connect("r", replica.endpoint)
    for end in (replica, listener, replica, listener):
        end.close()
    replica.set_accepting(False)
    listener.connect("s", replica.endpoint)
    listener.disconnect("r")
    assert listener.poll() == []
    port = int(replica.endpoint.split("#")[0].rpartition(":")[2])
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((HOST, port))


def test_an_address_of_another_node_raises_and_leaves_nothing_open(
    new_engine: NewEngine,
) -> None:
    with pytest.raises(zmq.ZMQError):
        ReportBroadcaster("203.0.113.77", new_engine().latest)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
