"""No timeout between client and engine is shorter than the streams that pass it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from deployments.environment import LONGEST_STREAM_S
from deployments.processes import processes_with
from deployments.running import recall
from deployments.service import RUN_DIR

if TYPE_CHECKING:
    from conftest import Client

# Of connections that are not there yet, or carry no request, and of the operator's own.
NOT_OF_A_STREAM = {"connect", "http-keep-alive", "stats"}


def haproxy_config() -> str:
    """What the HAProxy of the running service was started with."""
    running = recall(RUN_DIR)
    assert running is not None
    (path,) = {
        word
        for process in processes_with(running.haproxy_mark)
        for word in psutil.Process(process.pid).cmdline()
        if running.haproxy_mark in word and word.endswith(".cfg")
    }
    return Path(path).read_text()


def test_haproxy_waits_for_the_longest_stream(direct: Client) -> None:
    text = haproxy_config()
    (hard_stop_s,) = re.findall(r"^ *hard-stop-after (\d+)s$", text, re.MULTILINE)
    assert int(hard_stop_s) >= LONGEST_STREAM_S
    timeouts = re.findall(r"^ *timeout ([\w-]+) (\d+)s$", text, re.MULTILINE)
    assert len(timeouts) == len(re.findall(r"^ *timeout ", text, re.MULTILINE))
    of_streams = {name: int(s) for name, s in timeouts if name not in NOT_OF_A_STREAM}
    assert of_streams
    assert min(of_streams.values()) >= LONGEST_STREAM_S
    # A stream has no byte for as long as its engine has no room.
    assert "server" not in of_streams
