"""Either end of the channel comes late, dies, closes or was never there."""

import gc
import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import zmq

from telemetry.channel import ReportPublisher, ReportReceiver
from telemetry.report import EngineReport


def test_a_killed_engine_keeps_its_last_report_until_the_next_engine_speaks(
    endpoint: str, start_engine: Any, make_report: Any, until: Any
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
    endpoint: str, start_engine: Any, make_report: Any, until: Any
) -> None:
    engine = start_engine(make_report())
    with ReportReceiver(endpoint) as receiver:
        first = until(receiver, lambda r: True)
    with ReportReceiver(endpoint) as receiver:
        assert receiver.latest() is None
        assert until(receiver, lambda r: True).seq > first.seq
    assert engine.poll() is None


def test_an_engine_that_never_closes_still_ends(
    endpoint: str, start_engine: Any, make_report: Any, until: Any
) -> None:
    with ReportReceiver(endpoint) as receiver:
        heard = start_engine(make_report(), 50)
        until(receiver, lambda r: True)
        assert heard.wait(timeout=60) == 0
    unheard = start_engine(make_report(), 50)
    assert unheard.wait(timeout=60) == 0


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_publisher_that_is_forgotten_does_not_hang(
    endpoint: str, make_report: Any
) -> None:
    """Terminating a context waits for unsent messages unless told otherwise."""
    publisher = ReportPublisher(endpoint)
    publisher.publish(make_report())
    del publisher
    gc.collect()


def test_a_closed_end_neither_raises_nor_forgets(
    endpoint: str, make_report: Any, until: Any
) -> None:
    receiver, publisher = ReportReceiver(endpoint), ReportPublisher(endpoint)
    publisher.publish(make_report())
    last = until(receiver, lambda r: True)
    for end in (publisher, receiver, publisher, receiver):
        end.close()
    publisher.publish(make_report(seq=2))
    assert publisher.failed_total == 1
    assert receiver.latest() == last


def test_a_report_published_before_the_replica_listens_arrives(
    endpoint: str, make_report: Any, until: Any
) -> None:
    with ReportPublisher(endpoint) as publisher:
        for seq in range(10):
            publisher.publish(make_report(seq=seq))
        with ReportReceiver(endpoint) as receiver:
            assert until(receiver, lambda r: True).seq == 9


def test_nobody_listening_costs_the_engine_neither_time_nor_memory(
    endpoint: str, make_report: Any
) -> None:
    with ReportPublisher(endpoint) as publisher:
        report = make_report()
        took_s = [_publish_s(publisher, report) for _ in range(2000)]
        resident = _resident_bytes()
        took_s += [_publish_s(publisher, report) for _ in range(50_000)]
        assert publisher.failed_total == 0
        # One report a time would be 15 MB.
        assert _resident_bytes() - resident < 3_000_000
    # Not the slowest: on a shared machine that is the operating system's.
    assert statistics.median(took_s) < 1e-3


def test_a_bound_or_senseless_endpoint_raises_and_leaves_nothing_open(
    endpoint: str,
) -> None:
    with ReportReceiver(endpoint), pytest.raises(zmq.ZMQError):
        ReportReceiver(endpoint)
    with pytest.raises(zmq.ZMQError):
        ReportPublisher("nowhere")


def _publish_s(publisher: ReportPublisher, report: EngineReport) -> float:
    started_s = time.perf_counter()
    publisher.publish(report)
    return time.perf_counter() - started_s


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
