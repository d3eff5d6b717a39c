"""The client's process before the engines': late clients look like late tokens."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

from deployments.processes import processes_with

# The lowest there is: Ray gives every replica 15.
NICENESS = 19
AUTOGROUP_NICENESS = 10


def put_engines_behind(app: str) -> None:
    """Lower the priority of the engines of a Serve application on this machine.

    Anybody may lower it for his own processes; others' are left as they are. The client
    comes first then, then the replicas and HAProxy, which pass the tokens on.
    """
    for replica in processes_with(f"ServeReplica:{app}:"):
        with contextlib.suppress(psutil.Error):
            for engine in replica.children(recursive=True):
                put_behind(engine)


def put_behind(process: psutil.Process) -> None:
    """Make every thread of a process nice, and its autogroup if that is not ours."""
    with contextlib.suppress(psutil.Error, OSError):
        # Linux has a niceness for each thread; those that compute are there already.
        for thread in process.threads():
            os.setpriority(os.PRIO_PROCESS, thread.id, NICENESS)
        # Linux with autogroups weighs sessions by this, and threads only within one.
        if os.getsid(process.pid) != os.getsid(0):
            autogroup = Path(f"/proc/{process.pid}/autogroup")
            autogroup.write_text(str(AUTOGROUP_NICENESS), encoding="utf-8")
