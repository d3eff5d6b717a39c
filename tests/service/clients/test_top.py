"""`andes top` beside a real service: it finds the page, and both replicas on it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Client

REPO = Path(__file__).parents[3]
# Ray tells its nodes every 10 s what replicas told it.
SEEN_S = 60.0


def top() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()", "top", "--once"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )


def test_the_fleet_is_shown_as_it_is(direct: Client) -> None:
    direct.complete(max_tokens=5, vllm_xargs={"qoe_profile": "reading"})
    replicas = set(direct.reports())
    deadline_s = time.monotonic() + SEEN_S
    shown = top()
    while not ("reading" in shown.stdout and "scored" in shown.stdout):
        assert time.monotonic() < deadline_s, shown
        time.sleep(2.0)
        shown = top()
    assert shown.returncode == 0
    assert "2 replicas · andes" in shown.stdout
    assert {name for name in replicas if name in shown.stdout} == replicas
