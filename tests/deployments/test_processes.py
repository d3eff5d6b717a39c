"""What is started can be found again, told from others, and ended."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.cluster import OwnRay
from deployments.processes import (
    ProcessRef,
    ServiceError,
    end,
    free_port,
    port_is_free,
    processes_of_session,
    processes_with,
    wait_until,
)
from deployments.running import RECORD_NAME, Running, forget, recall, record

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True)"
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def mark() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def child(mark: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", f"{STUBBORN}; {SLEEP}", mark]
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_is_found_by_its_command_line_and_its_session(
    child: subprocess.Popen[bytes], mark: str
) -> None:
    assert [p.pid for p in processes_with(mark)] == [child.pid]
    assert [p.pid for p in processes_of_session(child.pid)] == [child.pid]


def test_a_process_that_does_not_listen_is_ended_all_the_same(
    child: subprocess.Popen[bytes], mark: str
) -> None:
    ref = ProcessRef.of(child.pid)
    assert ref.find() is not None
    end(processes_with(mark), grace_s=0.2)
    child.wait(timeout=60)
    assert ref.find() is None
    assert processes_with(mark) == []


def test_a_later_process_with_the_same_pid_is_another_one(
    child: subprocess.Popen[bytes],
) -> None:
    ref = ProcessRef.of(child.pid)
    assert ProcessRef(ref.pid, ref.created_at - 1.0).find() is None


def test_a_port_is_free_until_somebody_listens() -> None:
    port = free_port()
    assert port_is_free(port)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert not port_is_free(port)


def test_what_does_not_come_is_said() -> None:
    wait_until(lambda: True, 0.0, "never")
    with pytest.raises(ServiceError, match="it did not come"):
        wait_until(lambda: False, 0.0, "it did not come")


@pytest.mark.parametrize("own_ray", [None, OwnRay("127.0.0.1:1", ProcessRef(2, 3.0))])
def test_a_running_service_is_recalled_as_recorded(
    tmp_path: Path, own_ray: OwnRay | None
) -> None:
    running = Running(
        launcher=ProcessRef(1, 2.5),
        ray_address="127.0.0.1:1",
        own_ray=own_ray,
        haproxy_mark="haproxy-serve/abc/",
        replica_mark="ServeReplica:andes:",
        ports=(8000, 8404),
    )
    record(running, tmp_path)
    assert recall(tmp_path) == running
    forget(tmp_path)
    forget(tmp_path)
    assert recall(tmp_path) is None


def test_a_record_of_another_version_is_no_record(tmp_path: Path) -> None:
    (tmp_path / RECORD_NAME).write_text('{"pid": 1}')
    assert recall(tmp_path) is None
