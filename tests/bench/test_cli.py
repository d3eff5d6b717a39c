import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.live import was_interrupted
from bench.load import Load, PlannedStream
from bench.results import CANCELLED, Stream
from qoe import Expectation

ROOT = Path(__file__).parents[2]
TRACE = "arrival_s,input_tokens,output_tokens\n" + "".join(
    f"{0.1 * i:.1f},{20 + i},{5 + i}\n" for i in range(6)
)
runner = CliRunner()


@pytest.fixture
def trace(tmp_path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def bench(*arguments: object):
    return runner.invoke(app, ["bench", *map(str, arguments)])


def test_a_trace_is_streamed_scored_and_written(peer, trace, tmp_path) -> None:
    out, plot = tmp_path / "run.json", tmp_path / "run.png"
    done = bench(
        "--url", peer.url + "/", "--trace", trace, "--label", "tiny [peer]",
        "--json", out, "--plot", plot, "--ttft-s", 0.5, "--tds", 20,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "tiny [peer]" in done.stdout
    assert "area QoE" in done.stdout
    written = json.loads(out.read_text())
    assert written["label"] == "tiny [peer]"
    assert written["arguments"]["model"] == "tiny"
    assert written["arguments"]["max_context_tokens"] == 2048
    assert set(written["environment"]) == {"commit", "dirty", "python", "cpu_count"}
    assert written["summary"]["requests"] == 6
    assert written["summary"]["errors"] == {}
    assert [len(s["delivered_at_s"]) for s in written["streams"]] == [5, 6, 7, 8, 9, 10]
    assert {s["ttft_s"] for s in written["streams"]} == {0.5}
    assert {s["tds"] for s in written["streams"]} == {20.0}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_summary_has_its_promised_names(peer, trace, tmp_path) -> None:
    out = tmp_path / "run.json"
    assert bench("--url", peer.url, "--trace", trace, "--json", out).exit_code == 0
    summary = json.loads(out.read_text())["summary"]
    flat = {
        f"{statistic}_qoe_{kind}{suffix}"
        for kind in ("area", "delay")
        for statistic, suffix in (("mean", ""), ("p5", ""), ("share", "_ge_0_95"))
    }
    other = {"tokens_per_s", "requests", "errors", "short", "clipped", "makespan_s"}
    assert flat | other <= set(summary)
    assert set(summary["ttft_s"]) == {"mean", "p50", "p99"}
    assert set(summary["stall_s"]) == {"mean", "p99", "max"}
    assert set(summary["tds"]) == {"p50"}
    assert set(summary["send_lag_s"]) == {"p99", "max"}


def test_a_synthetic_load_of_the_same_seed_is_the_same_load(peer) -> None:
    for _ in range(2):
        done = bench(
            "--url", peer.url, "--synthetic", "--rate", 20, "--duration-s", 0.5,
            "--cycle-s", 1, "--output-tokens", 4, "--seed", 3,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    half = len(peer.bodies) // 2
    first, second = peer.bodies[:half], peer.bodies[half:]
    assert [b["prompt"] for b in first] == [b["prompt"] for b in second]
    assert {b["cache_salt"] for b in first}.isdisjoint(b["cache_salt"] for b in second)


def test_requests_are_clipped_to_what_the_server_can_hold_and_that_is_said(
    peer, trace
) -> None:
    peer.models = [{"id": "tiny", "max_model_len": 28}]
    done = bench("--url", peer.url, "--trace", trace)
    assert done.exit_code == 0
    assert all(len(b["prompt"]) + b["max_tokens"] <= 28 for b in peer.bodies)
    assert "4 requests were clipped" in done.stderr


def test_output_that_is_not_a_terminal_gets_no_progress_bar(peer, trace) -> None:
    done = bench("--url", peer.url, "--trace", trace)
    assert "\x1b" not in done.output
    assert "\r" not in done.output
    assert len(done.stderr.splitlines()) == 1


def test_a_run_in_which_nothing_succeeded_reports_and_fails(peer, trace) -> None:
    peer.refuse = 404, {"error": {"message": "no such model", "code": 404}}
    done = bench("--url", peer.url, "--trace", trace)
    assert done.exit_code == 1
    assert "6 × http_404: no such model" in done.stderr
    assert "area QoE" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--synthetic", "--rate", "nan"],
            "--rate=nan is invalid: it must be a number from",
        ),
        (["--synthetic", "--rate", "-1"], "--rate=-1 is invalid"),
        (["--synthetic", "--rate", "fast"], "--rate=fast is invalid"),
        (["--synthetic", "--intensity", "0.5"], "--intensity=0.5 is invalid"),
        (["--synthetic", "--burst-share", "1"], "--burst-share=1 is invalid"),
        (["--synthetic", "--burst-share", "0.9"], "their product must be at most 1"),
        (["--synthetic", "--cycle-s", "0"], "--cycle-s=0 is invalid"),
        (["--synthetic", "--duration-s", "inf"], "--duration-s=inf is invalid"),
        (["--synthetic", "--time-scale", "0"], "--time-scale=0 is invalid"),
        (["--synthetic", "--rate-scale", "-2"], "--rate-scale=-2 is invalid"),
        (["--synthetic", "--start-s", "-2"], "--start-s=-2 is invalid"),
        (["--synthetic", "--ttft-s", "0"], "from 0.01 to 600.0 seconds"),
        (["--synthetic", "--tds", "1e9"], "from 0.01 to 1,000.0 tokens/s"),
        (["--synthetic", "--max-context-tokens", "1"], "a whole number from 2 to"),
        (["--synthetic", "--max-output-tokens", "1.5"], "--max-output-tokens=1.5 is"),
        (["--synthetic", "--seed", "-1"], "--seed=-1 is invalid"),
        (["--synthetic", "--profile", "cats"], "one of reading, listening, none"),
        (["--synthetic", "--url", "localhost:8000"], "it must begin with http://"),
        (["--synthetic", "--json", "/nowhere/x.json"], "a folder that exists"),
        (["--synthetic", "--json", "/"], "--json=/ is invalid"),
        (["--synthetic", "--plot", "x.bmp"], "must end in one of .png, .svg, .pdf"),
        (["--synthetic", "--rate", "9e3", "--duration-s", "9e5"], "at most 1,000,000"),
        ([], "exactly one of --trace FILE and --synthetic; there is neither"),
        (["--synthetic", "--trace", "x.csv"], "there is both"),
        (["--trace", "x.csv", "--rate", "3"], "--rate shapes a synthetic load"),
        (["--trace", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--synthetic", "--speed", "3"], "No such option: --speed"),
        (["--synthetic", "--rate"], "requires an argument"),
    ],
)
def test_a_bad_option_is_one_clear_line_and_exit_code_2(arguments, message) -> None:
    refused = bench(*arguments)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith("andes: ")
    assert refused.stdout == ""


def test_a_bad_row_is_one_line_that_names_file_and_row(tmp_path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(TRACE + "0.6,20,zero\n")
    refused = bench("--trace", path)
    assert refused.exit_code == 2
    assert f"{path}, row 8: output_tokens=zero" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_window_without_requests_is_refused(trace) -> None:
    refused = bench("--trace", trace, "--start-s", 100)
    assert refused.exit_code == 2
    assert "no request arrives in the window" in refused.stderr


def test_help_names_every_option_with_its_unit() -> None:
    shown = runner.invoke(app, ["bench", "--help"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    for text in ("--duration-s", "SECONDS", "REQUESTS/S", "--no-ignore-eos", "CSV"):
        assert text in shown.stdout


def test_the_bare_command_shows_help_and_a_wrong_command_is_one_line() -> None:
    assert "bench" in runner.invoke(app, []).stdout
    wrong = runner.invoke(app, ["bensh"])
    assert (wrong.exit_code, len(wrong.stderr.splitlines())) == (2, 1)
    assert "Did you mean 'bench'" in wrong.stderr


def in_a_process(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from bench.cli import main; main()", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help_does_not_import_what_only_a_run_needs() -> None:
    code = (
        "import sys; from bench.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'aiohttp', 'matplotlib', 'ray', 'vllm'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_report_what_is_done_and_exit_130(peer, tmp_path, stop) -> None:
    peer.answer = peer.steady(period_s=0.05)
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n0,5,2\n0,5,9999\n99,5,2\n")
    peer.models = [{"id": "tiny"}]
    process = in_a_process("bench", "--url", peer.url, "--trace", str(path))
    deadline_s = time.monotonic() + 60
    while len(peer.bodies) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(stop)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "area QoE" in stdout
    assert "1 streams were cut off" in stderr
    assert "Traceback" not in stderr


def test_ctrl_c_before_any_stream_ended_says_so(peer, tmp_path) -> None:
    peer.answer = peer.steady(period_s=0.05)
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n0,5,9999\n")
    process = in_a_process(
        "bench", "--url", peer.url, "--trace", str(path), "--max-context-tokens", "90000"
    )
    deadline_s = time.monotonic() + 60
    while not peer.bodies and time.monotonic() < deadline_s:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped before any stream ended" in stderr
    assert "Traceback" not in stderr


def test_a_run_that_was_stopped_is_told_from_one_that_ended() -> None:
    reader = Expectation(1.0, 5.0)
    load = Load((PlannedStream(0.0, 5, 5, reader), PlannedStream(1.0, 5, 5, reader)))
    ended = Stream(
        arrival_s=0.0,
        input_tokens=5,
        output_tokens=5,
        ttft_s=1,
        tds=5,
        delivered_at_s=[1.0],
    )
    stopped = msgspec.structs.replace(ended, error=CANCELLED)
    assert not was_interrupted(load, [ended, ended])
    assert was_interrupted(load, [ended])
    assert was_interrupted(load, [ended, stopped])
