import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.demo.priority import AUTOGROUP_NICENESS, NICENESS, engines_behind

# A process with a thread that was there before, as an engine's are.
ENGINE = """
import threading, sys
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
# Named as Ray names a replica, with an engine below it.
REPLICA = """
import subprocess, sys
engine = subprocess.Popen([sys.executable, "-c", sys.argv[2]], stdout=subprocess.PIPE)
engine.stdout.readline()
print(engine.pid, flush=True)
sys.stdin.read()
engine.kill()
engine.wait()
"""


def nicenesses(pid: int) -> set[int]:
    threads = psutil.Process(pid).threads()
    return {os.getpriority(os.PRIO_PROCESS, thread.id) for thread in threads}


@pytest.fixture
def start():
    started = []

    def popen(*arguments: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        process.communicate(timeout=60)


@pytest.fixture
def engine(start) -> tuple[str, int, int]:
    """A Serve application, the pid of its replica, and that of the engine below it."""
    app = f"test-{os.getpid()}"
    replica = start(REPLICA, f"ServeReplica:{app}:x", ENGINE)
    return app, replica.pid, int(replica.stdout.readline())


def test_every_thread_of_an_engine_stands_behind_and_nobody_else(engine) -> None:
    app, replica_pid, engine_pid = engine
    before = nicenesses(os.getpid()), nicenesses(replica_pid)
    with engines_behind(app):
        assert len(psutil.Process(engine_pid).threads()) > 1
        assert nicenesses(engine_pid) == {NICENESS}
    assert (nicenesses(os.getpid()), nicenesses(replica_pid)) == before


def test_another_application_is_left_as_it_is(engine) -> None:
    app, _, engine_pid = engine
    before = nicenesses(engine_pid)
    with engines_behind(f"not-{app}"):
        assert nicenesses(engine_pid) == before


def test_the_session_of_an_engine_stands_behind_ours_until_the_block_ends(engine) -> None:
    app, _, engine_pid = engine
    autogroup = Path(f"/proc/{engine_pid}/autogroup")
    if not autogroup.exists():
        pytest.skip("this kernel has no autogroups")
    before = Path("/proc/self/autogroup").read_text()
    with engines_behind(app):
        assert autogroup.read_text().split()[-1] == str(AUTOGROUP_NICENESS)
        assert Path("/proc/self/autogroup").read_text() == before
    assert autogroup.read_text().split()[-1] == "0"


def test_an_engine_that_ends_meanwhile_is_no_problem(engine) -> None:
    app, _, engine_pid = engine
    with engines_behind(app):
        os.kill(engine_pid, signal.SIGKILL)
