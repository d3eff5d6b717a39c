"""What the processes of a running service cost in CPU time, by what they do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import psutil

# Part of the command line of each process that a request passes, and what it does there.
# The first that fits counts: the names of replicas begin alike.
_ROLES = {
    "VLLM::EngineCore": "engine",
    ":LLMRouter": "router",
    "ServeReplica:": "replica or ingress",
    "haproxy-serve/": "proxy",
    "ray::ProxyActor": "proxy",
}


def cpu_s_by_role(processes: Iterable[psutil.Process] | None = None) -> dict[str, float]:
    """CPU seconds so far, of the processes that tokens and requests pass on this machine.

    Ray's own (GCS, raylet, agents) work on no request and are left out.

    Args:
        processes: Where to look; None is everywhere.
    """
    used_s: dict[str, float] = defaultdict(float)
    for process in psutil.process_iter() if processes is None else processes:
        try:
            role = role_of(" ".join(process.cmdline()))
            if role is not None:
                used_s[role] += sum(process.cpu_times()[:2])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return dict(used_s)


def role_of(command_line: str) -> str | None:
    """What a process does for a request; None for nothing."""
    return next((role for part, role in _ROLES.items() if part in command_line), None)


def used_between(
    before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, float]:
    """CPU seconds of each role; a process that has ended takes its time with it."""
    return {role: max(now - before.get(role, 0.0), 0.0) for role, now in after.items()}
