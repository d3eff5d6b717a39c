"""The router's end of a broadcast: whom it hears, and what it takes for a report."""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

import pytest
import zmq

from telemetry.broadcast import (
    NAME_BYTES,
    PERIOD_S,
    ReportBroadcaster,
    ReportListener,
    seal,
)
from telemetry.report import SCHEMA, EngineReport, encode

HOST = "127.0.0.1"
MakeReport = Callable[..., EngineReport]
NewEngine = Callable[..., Any]
UntilReceived = Callable[..., EngineReport]


def until_refused(listener: ReportListener, total: int) -> None:
    deadline_s = time.monotonic() + 60
    while listener.refused_total < total:
        assert time.monotonic() < deadline_s, f"refused {listener.refused_total}"
        assert listener.poll() == []
        time.sleep(0.002)


def test_one_listener_hears_every_replica_by_its_own_name(
    listener: ReportListener, make_report: MakeReport, new_engine: NewEngine
) -> None:
    engines = [new_engine(make_report(epoch=str(i))) for i in range(3)]
    replicas = [ReportBroadcaster(HOST, engine.latest) for engine in engines]
    listener.listen_to({i: replica.endpoint for i, replica in enumerate(replicas)})
    heard: dict[Hashable, EngineReport] = {}
    deadline_s = time.monotonic() + 60
    while len(heard) < 3 and time.monotonic() < deadline_s:
        heard.update(listener.poll())
    assert heard == {i: engine.report for i, engine in enumerate(engines)}
    for replica in replicas:
        replica.close()


def test_a_replica_without_news_says_the_same_again(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
) -> None:
    """For those who come late, and to be known to be alive."""
    with ReportBroadcaster(HOST, new_engine(make_report()).latest) as replica:
        listener.connect("r", replica.endpoint)
        first = until_received(listener, lambda r: True)
        heard: list[tuple[Hashable, EngineReport]] = []
        deadline_s = time.monotonic() + 60
        while len(heard) < 3 and time.monotonic() < deadline_s:
            heard += listener.poll()
            time.sleep(0.01)
        assert heard == [("r", first)] * 3
        assert listener.missed_total == 0


def test_a_slow_router_finds_the_newest_report_and_nothing_older(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
) -> None:
    engine = new_engine(make_report(seq=1))
    with ReportBroadcaster(HOST, engine.latest, period_s=0.001) as replica:
        listener.connect("r", replica.endpoint)
        until_received(listener, lambda r: r.seq == 1)
        for seq in range(2, 502):
            engine.report = make_report(seq=seq)
            time.sleep(0.002)
        time.sleep(0.3)
        ((_, report),) = listener.poll()
        assert report.seq == 501
        assert listener.missed_total == 499


def test_an_engine_that_starts_again_is_heard_from_its_first_report(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
) -> None:
    engine = new_engine(make_report(epoch="first", seq=1000))
    with ReportBroadcaster(HOST, engine.latest) as replica:
        listener.connect("r", replica.endpoint)
        until_received(listener, lambda r: r.epoch == "first")
        engine.report = make_report(epoch="second", seq=0)
        assert until_received(listener, lambda r: r.epoch == "second").seq == 0
    assert listener.missed_total == 0


def test_a_replica_that_comes_back_elsewhere_is_heard_under_its_old_name(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
) -> None:
    with ReportBroadcaster(HOST, new_engine(make_report(epoch="first")).latest) as replica:
        listener.listen_to({"r": replica.endpoint})
        until_received(listener, lambda r: r.epoch == "first")
    with ReportBroadcaster(HOST, new_engine(make_report(epoch="second")).latest) as replica:
        listener.listen_to({"r": replica.endpoint})
        until_received(listener, lambda r: r.epoch == "second")


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "another-key"])
def test_whoever_gets_the_port_of_a_dead_replica_is_not_taken_for_it(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
    sealed: bool,
) -> None:
    with ReportBroadcaster(HOST, new_engine(make_report(seq=1)).latest) as replica:
        address, _, key = replica.endpoint.partition("#")
        listener.connect("r", replica.endpoint)
        until_received(listener, lambda r: True)
    message = key[:NAME_BYTES].encode() + encode(make_report(seq=2))
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        if sealed:
            seal(other)
        other.bind(address)
        for _ in range(150):
            other.send(message)
            assert listener.poll() == []
            time.sleep(0.01)


@pytest.mark.parametrize("knows", ["nothing", "another-key", "the-key"])
def test_who_does_not_know_the_key_of_a_replica_hears_nothing(
    make_report: MakeReport, new_engine: NewEngine, knows: str
) -> None:
    engine = new_engine(make_report(seq=1))
    with (
        ReportBroadcaster(HOST, engine.latest) as replica,
        zmq.Context() as context,
        context.socket(zmq.SUB) as stranger,
        context.socket(zmq.PUB) as other,
    ):
        address, _, key = replica.endpoint.partition("#")
        stranger.subscribe(b"")
        if knows != "nothing":
            digits = key if knows == "the-key" else seal(other)
            stranger.curve_serverkey = digits.encode()
            stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
        stranger.connect(address)
        # The last of the three shows that the first two would have heard in that time.
        assert bool(stranger.poll(2500)) == (knows == "the-key")


def test_who_is_left_is_no_longer_heard(
    listener: ReportListener,
    make_report: MakeReport,
    new_engine: NewEngine,
    until_received: UntilReceived,
) -> None:
    engine = new_engine(make_report(seq=1))
    with ReportBroadcaster(HOST, engine.latest) as replica:
        listener.listen_to({"r": replica.endpoint})
        until_received(listener, lambda r: True)
        listener.listen_to({})
        listener.disconnect("never known")
        engine.report = make_report(seq=2)
        time.sleep(4 * PERIOD_S)
        assert listener.poll() == []
        listener.listen_to({"r": replica.endpoint})
        assert until_received(listener, lambda r: True).seq == 2
    assert listener.refused_total == 0


def test_what_is_no_report_is_counted_and_told_once(
    listener: ReportListener,
    make_report: MakeReport,
    caplog: pytest.LogCaptureFixture,
    until_received: UntilReceived,
) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as stranger:
        key = seal(stranger)
        port = stranger.bind_to_random_port(f"tcp://{HOST}")
        listener.connect("r", f"tcp://{HOST}:{port}#{key}")
        _refuses_what_is_no_report(
            listener,
            make_report,
            caplog,
            until_received,
            stranger,
            key[:NAME_BYTES].encode(),
        )


def _refuses_what_is_no_report(
    listener: ReportListener,
    make_report: MakeReport,
    caplog: pytest.LogCaptureFixture,
    until_received: UntilReceived,
    stranger: zmq.Socket[bytes],
    name: bytes,
) -> None:
    good = make_report(seq=3)
    bad = [
        b"",
        name,
        name + b"\xff\x00garbage",
        name + b"\x91" * 50_000,
        name + encode(good)[:-3],
        name + encode(make_report(seq=9, schema=SCHEMA + 1)),
        b"x" * NAME_BYTES + encode(good),
    ]
    deadline_s = time.monotonic() + 60
    while not listener.poll():
        assert time.monotonic() < deadline_s
        stranger.send(name + encode(good))
        time.sleep(0.01)
    with caplog.at_level(logging.WARNING):
        for sent, message in enumerate(bad, start=1):
            stranger.send(message)
            until_refused(listener, sent)
    assert len(caplog.records) == 1
    stranger.send(name + encode(make_report(seq=4)))
    until_received(listener, lambda r: r.seq == 4)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "nowhere",
        "tcp://",
        "tcp://*:5#abc",
        "#abc",
        "tcp://127.0.0.1:5",
        "tcp://*:5#" + "a" * 40,
        "tcp://127.0.0.1:5#" + "~" * 40,
    ],
    ids=repr,
)
def test_an_endpoint_that_is_none_is_refused_and_nothing_raised(
    listener: ReportListener, endpoint: str
) -> None:
    listener.connect("r", endpoint)
    assert listener.refused_total == 1
    assert listener.poll() == []
    listener.disconnect("r")


def test_threads_may_share_a_listener(
    listener: ReportListener, make_report: MakeReport, new_engine: NewEngine
) -> None:
    """A ZMQ socket used by two threads at once aborts the process."""
    engine = new_engine(make_report(seq=0))
    with ReportBroadcaster(HOST, engine.latest, period_s=0.001) as replica:
        listener.connect("r", replica.endpoint)
        stop = threading.Event()

        def poll() -> None:
            while not stop.is_set():
                listener.poll()

        pollers = [threading.Thread(target=poll) for _ in range(3)]
        for poller in pollers:
            poller.start()
        for seq in range(1, 200):
            engine.report = make_report(seq=seq)
            time.sleep(0.001)
        listener.listen_to({})
        stop.set()
        for poller in pollers:
            poller.join()
