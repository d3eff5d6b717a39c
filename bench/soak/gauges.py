"""What the processes of a service hold, sample by sample."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psutil

from bench.soak.members import by_role
from bench.soak.results import Usage
from deployments.running import Running

MIB = 1 << 20
SAMPLE_EVERY_S = 2.0


class Gauges:
    """Looks at every process of a service again and again, in a thread of its own.

    Args:
        running: The service.
        now_s: Since the start of the soak.

    Attributes:
        series: What was seen, by role and pid.
    """

    def __init__(self, running: Running, now_s: Callable[[], float]) -> None:
        self._running, self._now_s = running, now_s
        self.series: dict[str, list[Usage]] = defaultdict(list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """For the length of a `with` block."""
        enough = Event()
        thread = Thread(target=self._watch, args=(enough,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()

    def look(self) -> dict[str, Usage]:
        """What all of them hold now."""
        seen = {}
        for role, process in by_role(self._running):
            try:
                seen[f"{role} {process.pid}"] = usage(process, self._now_s())
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
        return seen

    def _watch(self, enough: Event) -> None:
        while not enough.wait(SAMPLE_EVERY_S):
            for name, held in self.look().items():
                self.series[name].append(held)


def usage(process: psutil.Process, at_s: float) -> Usage:
    """What one process holds."""
    # Of this process: `psutil` shows inet sockets alone.
    links = [_target(entry.path) for entry in os.scandir(f"/proc/{process.pid}/fd")]
    return Usage(
        at_s=at_s,
        memory_mib=process.memory_info().rss / MIB,
        descriptors=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
        threads=process.num_threads(),
    )


def by_roles(usages: dict[str, Usage]) -> dict[str, tuple[int, int]]:
    """Sockets and all descriptors together, of each role."""
    sums: dict[str, tuple[int, int]] = {}
    for name, held in usages.items():
        role = name.rsplit(" ", 1)[0]
        sockets, descriptors = sums.get(role, (0, 0))
        sums[role] = (sockets + held.sockets, descriptors + held.descriptors)
    return sums


def temporary_files(running: Running) -> int:
    """Files that HAProxy has in its folder."""
    return sum(1 for path in Path(running.haproxy_mark).rglob("*") if path.is_file())


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
