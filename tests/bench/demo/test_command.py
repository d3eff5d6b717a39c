"""What `andes demo` does from start to end; the service here is a stand-in."""

import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench import serving
from bench.cli import app, main
from bench.demo import probe
from bench.demo.comparison import read_comparison
from bench.demo.rate import QOE_RANGE

ROOT = Path(__file__).parents[3]

# The last two arguments are an endpoint that answers, and a file for the service's end.
DEMO = """
import contextlib, pathlib, sys, types
import bench.serving
from bench.cli import main

stopped, url = pathlib.Path(sys.argv.pop()), sys.argv.pop()

@contextlib.contextmanager
def service(*args, **kwargs):
    try:
        config = types.SimpleNamespace(app="stand-in")
        yield types.SimpleNamespace(base_url=url, config=config)
    finally:
        stopped.touch()

bench.serving.service = service
main()
"""
# As a script starts what it puts in the background.
IN_BACKGROUND = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@pytest.mark.parametrize(
    ("prelude", "stop", "options"),
    [
        pytest.param("", signal.SIGINT, [], id="ctrl-c in the probe"),
        pytest.param("", signal.SIGINT, ["--rate", "1"], id="ctrl-c"),
        pytest.param("", signal.SIGTERM, ["--rate", "1"], id="sigterm"),
        pytest.param(
            IN_BACKGROUND, signal.SIGTERM, [], id="sigterm in the background, in the probe"
        ),
        pytest.param(
            IN_BACKGROUND, signal.SIGTERM, ["--rate", "1"], id="sigterm in the background"
        ),
    ],
)
def test_a_demo_that_is_stopped_stops_its_service(
    peer, tmp_path, prelude, stop, options
) -> None:
    peer.answer = peer.steady(period_s=0.05)
    trace, out, stopped = (tmp_path / name for name in ("trace.csv", "out", "stopped"))
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,5,9999\n")
    process = subprocess.Popen(
        [
            sys.executable, "-c", prelude + DEMO, "demo", "--trace", str(trace),
            "--start-s", "0", *options, "--out", str(out), peer.url, str(stopped),
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


@pytest.fixture
def asked(peer, monkeypatch) -> list[str]:
    """The schedulers that services were started with, in order."""
    schedulers = []

    @contextmanager
    def service(config: Path, overrides: Any, **options: Any) -> Iterator[Any]:
        schedulers.append(overrides["scheduler"])
        yield types.SimpleNamespace(
            base_url=peer.url, config=types.SimpleNamespace(app="stand-in")
        )

    monkeypatch.setattr(serving, "service", service)
    return schedulers


def demo(out: Path, *options: str) -> Any:
    trace = out / "trace.csv"
    rows = "".join(f"{n / 10},20,5\n" for n in range(10))
    trace.write_text(f"arrival_s,input_tokens,output_tokens\n{rows}")
    window = ["--trace", str(trace), "--start-s", "0", "--duration-s", "1"]
    return CliRunner().invoke(app, ["demo", *window, "--out", str(out), *options])


def test_a_rate_that_is_given_is_sent_and_nothing_is_probed(peer, asked, tmp_path) -> None:
    done = demo(tmp_path, "--rate", "20", "--pairs", "2")
    assert done.exit_code == 0, done.output
    assert asked == ["fcfs", "andes", "andes", "fcfs"]
    result = read_comparison(tmp_path / "demo.json")
    assert (result.rate, result.probe, result.corrected) == (20.0, None, None)
    assert [(run.pair, run.policy) for run in result.runs] == [
        (1, "fcfs"), (1, "andes"), (2, "andes"), (2, "fcfs"),
    ]  # fmt: skip
    assert {run.summary.requests for run in result.runs} == {20}
    assert "/" not in str(result.arguments["config"])


def test_the_page_is_made_again_from_what_was_written(peer, asked, tmp_path) -> None:
    assert demo(tmp_path, "--rate", "20", "--pairs", "1").exit_code == 0
    page = (tmp_path / "demo.md").read_text()
    (tmp_path / "demo.md").unlink()
    asked.clear()
    again = demo(tmp_path, "--redraw")
    assert again.exit_code == 0, again.output
    assert not asked
    assert (tmp_path / "demo.md").read_text() == page


def test_a_rate_that_fails_nobody_is_corrected_once_and_said_so(
    peer, asked, tmp_path, monkeypatch
) -> None:
    # Nobody ever waits longer here than for a first token: no rate can make fcfs fall.
    peer.answer = peer.steady(first_s=0.3, period_s=0.0)
    for name, value in {"DURATION_S": 2.0, "FILL_S": 0.5, "WAITING": 2}.items():
        monkeypatch.setattr(probe, name, value)
    done = demo(tmp_path, "--pairs", "1")
    assert done.exit_code == 0, done.output
    assert asked == ["fcfs", "fcfs", "fcfs", "andes"]
    result = read_comparison(tmp_path / "demo.json")
    assert len(result.runs) == 2
    assert result.probe is not None
    assert result.corrected.mean_qoe_area > QOE_RANGE[1]
    assert result.rate > result.corrected.rate
    assert f"once more at {result.rate:g}" in " ".join(done.stderr.split())
    assert "Corrected once" in (tmp_path / "demo.md").read_text()
