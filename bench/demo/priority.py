"""The client's process before the engines': late clients look like late tokens."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from deployments.processes import processes_with

# The lowest there is: Ray gives every replica 15.
NICENESS = 19
# A third of the share of others: the whole service is in it, and must still get on.
AUTOGROUP_NICENESS = 5


@contextmanager
def engines_behind(app: str) -> Iterator[None]:
    """The engines of a Serve application on this machine come last for a `with` block.

    Anybody may lower the priority of his own processes; others' are left as they are. The
    client comes first then, then the replicas and HAProxy, which pass the tokens on.
    Afterwards the engines' threads stay nice, but their session may end as fast as others.
    """
    engines: list[psutil.Process] = []
    for replica in processes_with(f"ServeReplica:{app}:"):
        with contextlib.suppress(psutil.Error):
            engines += replica.children(recursive=True)
    for engine in engines:
        _set_niceness(engine)
        _set_autogroup(engine, AUTOGROUP_NICENESS)
    try:
        yield
    finally:
        for engine in engines:
            _set_autogroup(engine, 0)


def _set_niceness(engine: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error, OSError):
        # Linux has a niceness for each thread; those that compute are there already.
        for thread in engine.threads():
            os.setpriority(os.PRIO_PROCESS, thread.id, NICENESS)


def _set_autogroup(engine: psutil.Process, niceness: int) -> None:
    # Linux with autogroups weighs sessions by this, and threads only within one.
    with contextlib.suppress(OSError):
        if os.getsid(engine.pid) != os.getsid(0):
            autogroup = Path(f"/proc/{engine.pid}/autogroup")
            autogroup.write_text(str(niceness), encoding="utf-8")
