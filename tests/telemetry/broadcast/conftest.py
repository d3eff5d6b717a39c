"""Replicas without engines, and a router's end that hears them over real sockets."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from telemetry.broadcast import ReportListener
from telemetry.report import EngineReport


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Afterwards no socket and no thread may be left."""
    before = set(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())
    yield
    assert set(os.listdir("/proc/self/fd")) <= before
    assert set(threading.enumerate()) <= threads


class Engine:
    """Holds the report that a replica would have from its engine."""

    def __init__(self, report: EngineReport | None = None) -> None:
        self.report = report

    def latest(self) -> EngineReport | None:
        return self.report


@pytest.fixture
def new_engine() -> type[Engine]:
    """Makes an engine with a report, or with none yet."""
    return Engine


@pytest.fixture
def listener() -> Iterator[ReportListener]:
    with ReportListener() as listener:
        yield listener


def _until_received(
    listener: ReportListener, wanted: Callable[[EngineReport], bool], timeout_s: float = 60
) -> EngineReport:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        for _, report in listener.poll():
            if wanted(report):
                return report
        time.sleep(0.002)
    raise AssertionError(f"not within {timeout_s} s")


@pytest.fixture
def until_received() -> Callable[..., EngineReport]:
    """Polls a listener until a report is wanted; fails if none comes."""
    return _until_received
