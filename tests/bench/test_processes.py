"""Processes that a command starts to work for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from bench.processes import ctrl_c_is_ours


def test_ctrl_c_while_a_process_starts_is_not_lost() -> None:
    heard = []
    # Whoever runs the tests may ignore it.
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(True))
    try:
        with ctrl_c_is_ours():
            os.kill(os.getpid(), signal.SIGINT)
        assert heard
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_started_there_never_hears_ctrl_c() -> None:
    code = "import time; print(flush=True); time.sleep(60)"
    with ctrl_c_is_ours():
        deaf = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert deaf.stdout is not None
    with deaf:
        deaf.stdout.readline()
        deaf.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            deaf.wait(timeout=0.5)
        deaf.kill()
