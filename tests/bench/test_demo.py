"""How `andes demo` ends when it does not end well; the service here is a stand-in."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cli import main

ROOT = Path(__file__).parents[2]

# The last two arguments are an endpoint that answers, and a file for the service's end.
DEMO = """
import contextlib, pathlib, sys, types
import bench.serving
from bench.cli import main

stopped, url = pathlib.Path(sys.argv.pop()), sys.argv.pop()

@contextlib.contextmanager
def service(*args, **kwargs):
    try:
        yield types.SimpleNamespace(base_url=url)
    finally:
        stopped.touch()

bench.serving.service = service
main()
"""
# As a script starts what it puts in the background.
IN_BACKGROUND = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@pytest.mark.parametrize(
    ("prelude", "stop"),
    [
        pytest.param("", signal.SIGINT, id="ctrl-c"),
        pytest.param("", signal.SIGTERM, id="sigterm"),
        pytest.param(IN_BACKGROUND, signal.SIGTERM, id="sigterm in the background"),
    ],
)
def test_a_demo_that_is_stopped_stops_its_service(peer, tmp_path, prelude, stop) -> None:
    peer.answer = peer.steady(period_s=0.05)
    trace, out, stopped = (tmp_path / name for name in ("trace.csv", "out", "stopped"))
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,5,9999\n")
    process = subprocess.Popen(
        [
            sys.executable, "-c", prelude + DEMO, "demo", "--trace", str(trace),
            "--start-s", "0", "--out", str(out), peer.url, str(stopped),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    deadline_s = time.monotonic() + 60
    while not peer.bodies and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not stopped.exists()
    process.send_signal(stop)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert stopped.exists()
    assert error.splitlines()[-1] == "andes: stopped: nothing is written."
    assert "Traceback" not in error
    assert not out.exists()


def test_a_demo_of_a_config_that_is_not_there_ends_in_one_line(tmp_path, capsys) -> None:
    missing = tmp_path / "nowhere.yaml"
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--config", str(missing), "--out", str(tmp_path)])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert "there is no such file" in " ".join(error.split())
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
