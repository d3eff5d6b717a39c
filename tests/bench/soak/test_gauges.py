"""Processes are looked at as they are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack

import psutil

from bench.soak.faults import freeze
from bench.soak.gauges import usage


def test_what_a_process_opens_is_counted() -> None:
    before = usage(psutil.Process(), 0.0)
    enough = threading.Event()
    thread = threading.Thread(target=enough.wait)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.socket())
        stack.enter_context(open(os.devnull))
        thread.start()
        now = usage(psutil.Process(), 1.0)
    enough.set()
    thread.join()
    assert now.sockets - before.sockets == 5
    assert now.descriptors - before.descriptors == 6
    assert now.threads - before.threads == 1
    assert now.memory_mib > 1.0


def test_what_is_frozen_stands_still_and_goes_on() -> None:
    code = "import time\nwhile True: print(flush=True); time.sleep(0.05)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL
    ) as writes:
        process = psutil.Process(writes.pid)
        thread = threading.Thread(target=freeze, args=(process, 1.0))
        thread.start()
        seen = set()
        while thread.is_alive():
            seen.add(process.status())
        assert psutil.STATUS_STOPPED in seen
        assert process.status() != psutil.STATUS_STOPPED
        writes.kill()
