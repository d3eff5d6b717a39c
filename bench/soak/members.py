"""The processes of a running service, and how to end or freeze them."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

from bench.paths.cpu import role_of
from deployments.processes import is_alive, processes_with
from deployments.running import Running
from deployments.service import Service
from telemetry.report import EngineReport, from_mapping

ENGINE_MARK = "EngineCore"
ROUTER_MARK = ":LLMRouter"
# Beside those that a request passes.
_MORE_ROLES = {"ray::ServeController": "controller", "ray::HAProxyManager": "proxy manager"}
ANSWER_S = 30.0

Replica = dict[str, Any]


def replicas(service: Service) -> dict[str, Replica]:
    """The replicas that answer and have a report, by id, as they describe themselves."""
    answers = service.handle().broadcast("engine_report").results(timeout_s=ANSWER_S)
    return {answer["replica_id"]: answer for answer in answers if answer["report"]}


def report_of(replica: Replica) -> EngineReport:
    """What the replica knows of its engine."""
    return from_mapping(replica["report"])


def process_of(replica: Replica) -> psutil.Process:
    """The replica's own process."""
    return psutil.Process(replica["pid"])


def engine_of(replica: Replica) -> psutil.Process:
    """The process of its engine."""
    (engine,) = [
        child
        for child in process_of(replica).children()
        if ENGINE_MARK in " ".join(child.cmdline())
    ]
    return engine


def router_of(running: Running) -> psutil.Process:
    """The process that places streams in direct streaming."""
    found = processes_with(running.replica_mark)
    return next(process for process in found if ROUTER_MARK in _command(process))


def haproxy_of(running: Running) -> psutil.Process:
    """The HAProxy that takes new connections; older ones finish what they have."""
    found = processes_with(running.haproxy_mark)
    return max(found, key=lambda process: process.create_time())


def kill(process: psutil.Process) -> None:
    """End it at once, with nothing said."""
    process.send_signal(signal.SIGKILL)


def by_role(running: Running) -> Iterator[tuple[str, psutil.Process]]:
    """The service's processes that last, each with what it does."""
    for process in psutil.process_iter():
        try:
            role = _role(running, process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if role is not None and is_alive(process):
            yield role, process


def counts(running: Running) -> Mapping[str, int]:
    """How many processes of each role there are."""
    found: dict[str, int] = {}
    for role, _ in by_role(running):
        found[role] = found.get(role, 0) + 1
    return found


def _role(running: Running, process: psutil.Process) -> str | None:
    command = _command(process)
    more = next((role for mark, role in _MORE_ROLES.items() if mark in command), None)
    if more is not None:
        return more
    role = role_of(command)
    # Others on this machine may have a HAProxy and engines of their own.
    if role == "proxy":
        is_ours = running.haproxy_mark in command
    elif role == "engine":
        parent = process.parent()
        is_ours = parent is not None and running.replica_mark in _command(parent)
    else:
        is_ours = True
    return role if is_ours else None


def _command(process: psutil.Process) -> str:
    return " ".join(process.cmdline())
