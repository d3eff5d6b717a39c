import gc
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from telemetry.channel import (
    MAX_KNOWN_EPOCHS,
    ReportPublisher,
    ReportReceiver,
    new_endpoint,
)
from telemetry.report import SCHEMA, EngineReport, encode

ENGINE = Path(__file__).with_name("engine_process.py")
REPO = Path(__file__).parents[2]
MakeReport = Callable[..., EngineReport]


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An endpoint; afterwards no socket, thread or name of it may be left."""
    before = set(os.listdir("/proc/self/fd"))
    name = new_endpoint()
    yield name
    assert set(os.listdir("/proc/self/fd")) <= before
    assert name.removeprefix("ipc://") not in Path("/proc/net/unix").read_text()


@pytest.fixture
def start_engine(endpoint: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts engine processes that publish on `endpoint`; kills them afterwards."""
    engines = []

    def start(report: EngineReport, *count: int) -> subprocess.Popen[str]:
        engine = subprocess.Popen(
            [
                sys.executable,
                ENGINE,
                endpoint,
                msgspec.json.encode(report),
                *map(str, count),
            ],
            env=os.environ | {"PYTHONPATH": str(REPO)},
            stdout=subprocess.PIPE,
            text=True,
        )
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.kill()
        engine.communicate()


def until(
    receiver: ReportReceiver, wanted: Callable[[EngineReport], bool], timeout_s: float = 20
) -> EngineReport:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        report = receiver.latest()
        if report is not None and wanted(report):
            return report
        time.sleep(0.005)
    raise AssertionError(f"not within {timeout_s} s; last report: {receiver.latest()}")


def is_of_epoch(epoch: str, report: EngineReport) -> bool:
    return report.epoch == epoch


def until_refused(receiver: ReportReceiver, total: int) -> None:
    deadline_s = time.monotonic() + 5
    while receiver.refused_total < total:
        assert time.monotonic() < deadline_s, f"refused {receiver.refused_total}"
        receiver.latest()
        time.sleep(0.005)


def test_a_killed_engine_keeps_its_last_report_until_the_next_engine_speaks(
    endpoint: str, start_engine: Any, make_report: MakeReport
) -> None:
    with ReportReceiver(endpoint) as receiver:
        engine = start_engine(make_report(epoch="first", seq=1000))
        last = until(receiver, lambda r: r.seq > 1000)
        engine.send_signal(signal.SIGKILL)
        engine.wait()
        left_behind = receiver.latest()
        assert left_behind is not None
        assert (left_behind.epoch, left_behind.seq >= last.seq) == ("first", True)

        start_engine(make_report(epoch="second", seq=0))
        assert until(receiver, lambda r: r.epoch == "second").seq < 1000


def test_a_restarted_replica_hears_an_engine_that_kept_running(
    endpoint: str, start_engine: Any, make_report: MakeReport
) -> None:
    engine = start_engine(make_report())
    with ReportReceiver(endpoint) as receiver:
        first = until(receiver, lambda r: True)
    with ReportReceiver(endpoint) as receiver:
        assert receiver.latest() is None
        assert until(receiver, lambda r: True).seq > first.seq
    assert engine.poll() is None


def test_an_engine_that_never_closes_still_ends(
    endpoint: str, start_engine: Any, make_report: MakeReport
) -> None:
    with ReportReceiver(endpoint) as receiver:
        heard = start_engine(make_report(), 50)
        until(receiver, lambda r: True)
        assert heard.wait(timeout=20) == 0
    unheard = start_engine(make_report(), 50)
    assert unheard.wait(timeout=20) == 0


@pytest.mark.timeout(20)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_publisher_that_is_forgotten_does_not_hang(
    endpoint: str, make_report: MakeReport
) -> None:
    """Terminating a context waits for unsent messages unless told otherwise."""
    publisher = ReportPublisher(endpoint)
    publisher.publish(make_report())
    del publisher
    gc.collect()


def test_a_report_published_before_the_replica_listens_arrives(
    endpoint: str, make_report: MakeReport
) -> None:
    with ReportPublisher(endpoint) as publisher:
        for seq in range(10):
            publisher.publish(make_report(seq=seq))
        with ReportReceiver(endpoint) as receiver:
            assert until(receiver, lambda r: True).seq == 9


def test_a_slow_receiver_gets_the_newest_report(
    endpoint: str, make_report: MakeReport
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


def test_nobody_listening_costs_the_engine_neither_time_nor_memory(
    endpoint: str, make_report: MakeReport
) -> None:
    with ReportPublisher(endpoint) as publisher:
        report = make_report()
        took_s = [_publish_s(publisher, report) for _ in range(2000)]
        resident = _resident_bytes()
        took_s += [_publish_s(publisher, report) for _ in range(50_000)]
        assert publisher.failed_total == 0
        # One report a time would be 15 MB.
        assert _resident_bytes() - resident < 3_000_000
    # Not the maximum: on a shared machine that is the operating system's.
    assert statistics.quantiles(took_s, n=100)[-1] < 1e-3


def test_bytes_that_are_no_report_are_counted_and_the_last_good_one_stays(
    endpoint: str, make_report: MakeReport
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
    endpoint: str, make_report: MakeReport
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


def test_known_epochs_are_bounded(endpoint: str, make_report: MakeReport) -> None:
    with ReportReceiver(endpoint) as receiver, ReportPublisher(endpoint) as publisher:
        for start in range(3 * MAX_KNOWN_EPOCHS):
            publisher.publish(make_report(epoch=str(start), seq=0))
            until(receiver, partial(is_of_epoch, str(start)))
        assert len(receiver._last_seq) == MAX_KNOWN_EPOCHS


def test_age_is_counted_from_the_arrival_of_the_present_report(
    endpoint: str, make_report: MakeReport
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


def test_a_closed_end_neither_raises_nor_forgets(
    endpoint: str, make_report: MakeReport
) -> None:
    receiver, publisher = ReportReceiver(endpoint), ReportPublisher(endpoint)
    publisher.publish(make_report())
    last = until(receiver, lambda r: True)
    for end in (publisher, receiver, publisher, receiver):
        end.close()
    publisher.publish(make_report(seq=2))
    assert publisher.failed_total == 1
    assert receiver.latest() == last


def test_a_report_that_cannot_be_encoded_is_dropped_and_counted(
    endpoint: str, make_report: MakeReport
) -> None:
    """numpy scalars do not encode: the engine must survive somebody forgetting that."""
    with ReportPublisher(endpoint) as publisher:
        publisher.publish(make_report(running=object()))
        assert publisher.failed_total == 1


def test_a_bound_or_senseless_endpoint_raises_and_leaves_nothing_open(
    endpoint: str,
) -> None:
    with ReportReceiver(endpoint), pytest.raises(zmq.ZMQError):
        ReportReceiver(endpoint)
    with pytest.raises(zmq.ZMQError):
        ReportPublisher("nowhere")


def test_threads_may_share_a_receiver(endpoint: str, make_report: MakeReport) -> None:
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


def _publish_s(publisher: ReportPublisher, report: EngineReport) -> float:
    started_s = time.perf_counter()
    publisher.publish(report)
    return time.perf_counter() - started_s


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
