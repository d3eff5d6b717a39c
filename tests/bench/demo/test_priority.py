import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from bench.demo.priority import AUTOGROUP_NICENESS, NICENESS, put_behind, put_engines_behind

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
        process.communicate(timeout=10)


def test_every_thread_of_an_engine_stands_behind_and_none_of_ours(start) -> None:
    engine = start(ENGINE)
    assert engine.stdout.readline() == "ready\n"
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    put_behind(psutil.Process(engine.pid))
    assert len(psutil.Process(engine.pid).threads()) > 1
    assert nicenesses(engine.pid) == {NICENESS}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_the_session_of_an_engine_stands_behind_ours(start) -> None:
    autogroup = Path("/proc/self/autogroup")
    if not autogroup.exists():
        pytest.skip("this kernel has no autogroups")
    before = autogroup.read_text()
    engine = start(ENGINE)
    engine.stdout.readline()
    put_behind(psutil.Process(engine.pid))
    of_engine = Path(f"/proc/{engine.pid}/autogroup").read_text()
    assert of_engine.split()[-1] == str(AUTOGROUP_NICENESS)
    assert autogroup.read_text() == before


def test_engines_are_found_below_the_replicas_of_that_application_only(start) -> None:
    app = f"test-{os.getpid()}"
    replica = start(REPLICA, f"ServeReplica:{app}:x", ENGINE)
    engine = int(replica.stdout.readline())
    before = nicenesses(engine)
    put_engines_behind(f"not-{app}")
    assert nicenesses(engine) == before
    put_engines_behind(app)
    assert nicenesses(engine) == {NICENESS}
    assert nicenesses(replica.pid) == before


def test_a_process_that_has_ended_is_no_problem(start) -> None:
    engine = start("")
    ended = psutil.Process(engine.pid)
    engine.wait(timeout=10)
    put_behind(ended)
