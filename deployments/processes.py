"""Processes and ports of this machine: who is there, who is still the same, who goes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import psutil

POLL_S = 0.2


class ServiceError(RuntimeError):
    """The service could not be started or stopped; `str()` says what to do about it."""


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """A process that can be told from a later one with the same pid."""

    pid: int
    created_at: float

    @classmethod
    def of(cls, pid: int) -> Self:
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process, or None once it has ended."""
        try:
            process = psutil.Process(self.pid)
            is_same = process.create_time() == self.created_at
            return process if is_same and is_alive(process) else None
        except psutil.NoSuchProcess:
            return None


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended and waits for its parent does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def processes_with(argument: str) -> list[psutil.Process]:
    """Processes of which one command line argument contains `argument`."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(argument in word for word in process.info["cmdline"] or ())
        and is_alive(process)
    ]


def processes_of_session(session_id: int) -> list[psutil.Process]:
    """Processes of a POSIX session, the leader's and what it and they started."""
    return [
        process
        for process in psutil.process_iter()
        if _session_of(process.pid) == session_id and is_alive(process)
    ]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def end(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """Ask the processes to end, and end those that are still there after `grace_s`."""
    asked = list(processes)
    for process in asked:
        _signal(process.terminate)
    _, stubborn = psutil.wait_procs(asked, timeout=grace_s)
    for process in stubborn:
        _signal(process.kill)
    psutil.wait_procs(stubborn, timeout=grace_s)


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return


def port_is_free(port: int) -> bool:
    """Whether a server could listen on `port` of every interface now."""
    with socket.socket() as probe:
        # As servers do: a connection that is closing does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until(condition: Callable[[], bool], timeout_s: float, problem: str) -> None:
    """Wait until `condition()` holds.

    Raises:
        ServiceError: It does not within `timeout_s`; the message is `problem`.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise ServiceError(problem)
        time.sleep(POLL_S)
