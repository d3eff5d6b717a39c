import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from telemetry.channel import ReportReceiver, new_endpoint
from telemetry.report import EngineReport

ENGINE = Path(__file__).with_name("engine_process.py")
REPO = Path(__file__).parents[2]


def _make_report(**changes: Any) -> EngineReport:
    busy: dict[str, Any] = {
        "epoch": "first",
        "seq": 1,
        "kv_blocks_total": 1000,
        "kv_blocks_used": 100,
        "block_size_tokens": 16,
        "kv_blocks_preemptible": (90, 60, 30, 0),
        "demand_tokens": 1600,
        "running": 4,
        "waiting": 1,
        "preempted": 1,
        "accepted_total": 9,
        "finished_total": 4,
        "preemptions_total": 2,
        "plan_failures_total": 0,
        "tokens_total": 5000,
        "mean_output_tokens": 211.4,
        "step_time_s": 0.01234,
        "qoe_mean": 0.987,
        "qoe_p5": 0.71,
    }
    return EngineReport(**(busy | changes))


@pytest.fixture
def make_report() -> Any:
    """A builder of valid reports; keywords replace fields."""
    return _make_report


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


def _until(
    receiver: ReportReceiver, wanted: Callable[[EngineReport], bool], timeout_s: float = 60
) -> EngineReport:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        report = receiver.latest()
        if report is not None and wanted(report):
            return report
        time.sleep(0.005)
    raise AssertionError(f"not within {timeout_s} s; last report: {receiver.latest()}")


@pytest.fixture
def until() -> Callable[..., EngineReport]:
    """Reads until a report is wanted; fails if none comes."""
    return _until
