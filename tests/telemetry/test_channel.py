"""What a replica hears while both ends of the channel are there."""

import threading
import time
from functools import partial
from typing import Any

import msgspec
import zmq

from telemetry.channel import MAX_KNOWN_EPOCHS, ReportPublisher, ReportReceiver
from telemetry.report import SCHEMA, EngineReport, encode


def is_of_epoch(epoch: str, report: EngineReport) -> bool:
    return report.epoch == epoch


def until_refused(receiver: ReportReceiver, total: int) -> None:
    deadline_s = time.monotonic() + 60
    while receiver.refused_total < total:
        assert time.monotonic() < deadline_s, f"refused {receiver.refused_total}"
        receiver.latest()
        time.sleep(0.005)


def test_a_slow_receiver_gets_the_newest_report(
    endpoint: str, make_report: Any, until: Any
) -> None:
    with ReportReceiver(endpoint) as receiver, ReportPublisher(endpoint) as publisher:
        publisher.publish(make_report(seq=0))
        until(receiver, lambda r: True)
        for seq in range(1, 5001):
            publisher.publish(make_report(seq=seq))
        time.sleep(0.5)
        newest = receiver.latest()
        assert newest is not None
        assert newest.seq == 5000


def test_bytes_that_are_no_report_are_counted_and_the_last_good_one_stays(
    endpoint: str, make_report: Any, until: Any
) -> None:
    good = make_report(seq=7)
    bad = [
        b"",
        b"\xff\x00garbage",
        b"\x81\xa5epoch\xa2\xff\xfe",
        encode(good)[:-3],
        encode(make_report(seq=8, schema=SCHEMA + 1)),
        msgspec.msgpack.encode({"schema": SCHEMA}),
    ]
    with ReportReceiver(endpoint) as receiver:
        with ReportPublisher(endpoint) as publisher:
            publisher.publish(good)
            assert until(receiver, lambda r: True) == good
        with zmq.Context() as context, context.socket(zmq.PUSH) as stranger:
            stranger.connect(endpoint)
            for sent, message in enumerate(bad, start=1):
                stranger.send(message)
                until_refused(receiver, sent)
        assert receiver.latest() == good
        with ReportPublisher(endpoint) as publisher:
            publisher.publish(make_report(seq=9))
            assert until(receiver, lambda r: r.seq == 9).epoch == good.epoch


def test_an_older_report_of_the_same_epoch_is_ignored(
    endpoint: str, make_report: Any, until: Any
) -> None:
    with ReportReceiver(endpoint) as receiver, ReportPublisher(endpoint) as publisher:
        publisher.publish(make_report(epoch="a", seq=10, running=1))
        until(receiver, lambda r: r.seq == 10)
        publisher.publish(make_report(epoch="a", seq=10, running=2))
        time.sleep(0.05)
        publisher.publish(make_report(epoch="a", seq=9, running=3))
        time.sleep(0.05)
        kept = receiver.latest()
        assert kept is not None
        assert (kept.seq, kept.running) == (10, 1)

        publisher.publish(make_report(epoch="b", seq=0))
        until(receiver, lambda r: r.epoch == "b")
        publisher.publish(make_report(epoch="a", seq=10))
        time.sleep(0.05)
        kept = receiver.latest()
        assert kept is not None
        assert kept.epoch == "b"
        assert receiver.refused_total == 0


def test_known_epochs_are_bounded(endpoint: str, make_report: Any, until: Any) -> None:
    with ReportReceiver(endpoint) as receiver, ReportPublisher(endpoint) as publisher:
        for start in range(3 * MAX_KNOWN_EPOCHS):
            publisher.publish(make_report(epoch=str(start), seq=0))
            until(receiver, partial(is_of_epoch, str(start)))
        assert len(receiver._last_seq) == MAX_KNOWN_EPOCHS


def test_age_is_counted_from_the_arrival_of_the_present_report(
    endpoint: str, make_report: Any, until: Any
) -> None:
    clock = [100.0]
    with (
        ReportReceiver(endpoint, now_s=lambda: clock[0]) as receiver,
        ReportPublisher(endpoint) as publisher,
    ):
        assert receiver.age_s is None
        publisher.publish(make_report(seq=1))
        until(receiver, lambda r: True)
        clock[0] = 103.0
        receiver.latest()
        assert receiver.age_s == 3.0
        publisher.publish(make_report(seq=2))
        until(receiver, lambda r: r.seq == 2)
        assert receiver.age_s == 0.0


def test_a_report_that_cannot_be_encoded_is_dropped_and_counted(
    endpoint: str, make_report: Any
) -> None:
    """numpy scalars do not encode: the engine must survive somebody forgetting that."""
    with ReportPublisher(endpoint) as publisher:
        publisher.publish(make_report(running=object()))
        assert publisher.failed_total == 1


def test_threads_may_share_a_receiver(endpoint: str, make_report: Any, until: Any) -> None:
    """A ZMQ socket used by two threads at once aborts the process."""
    with ReportReceiver(endpoint) as receiver, ReportPublisher(endpoint) as publisher:
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                receiver.latest()

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for seq in range(1, 500):
            publisher.publish(make_report(seq=seq))
            time.sleep(0.0005)
        until(receiver, lambda r: r.seq == 499)
        stop.set()
        for reader in readers:
            reader.join()
