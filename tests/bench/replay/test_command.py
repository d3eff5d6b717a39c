import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("vllm")

import bench.replay.run  # so that no test pays for loading vLLM
from bench.cli import app

ROOT = Path(__file__).parents[3]
RUN_KEYS = {
    "scheduler",
    "mean_qoe_area",
    "p5_qoe_area",
    "share_qoe_area_ge_0_95",
    "mean_qoe_delay",
    "p5_qoe_delay",
    "share_qoe_delay_ge_0_95",
    "share_never_late",
    "ttft_s",
    "stall_s",
    "tds",
    "tokens_per_s",
    "preemptions_per_request",
    "out_of_patience",
    "peak_waiting",
    "plan_ms",
    "requests",
    "refused",
    "makespan_s",
}
runner = CliRunner()


def replay(*arguments: object):
    return runner.invoke(app, ["replay", *map(str, arguments)])


def test_a_replay_is_told_written_and_drawn(trace, tmp_path) -> None:
    out, plot = tmp_path / "runs.json", tmp_path / "runs.png"
    done = replay("--trace", trace, "--kv-tokens", 800, "--json", out, "--plot", plot)
    assert done.exit_code == 0, done.output
    for text in ("fcfs", "andes", "area QoE", "stall, s", "preemptions/request"):
        assert text in done.stdout
    written = json.loads(out.read_text())
    assert set(written) == {"runs", "arguments", "environment"}
    assert [run["scheduler"] for run in written["runs"]] == ["fcfs", "andes"]
    for run in written["runs"]:
        assert set(run) == RUN_KEYS
        assert set(run["ttft_s"]) == {"mean", "p50", "p99"}
        assert set(run["stall_s"]) == {"mean", "p99", "max"}
        assert set(run["tds"]) == {"p50"}
        assert set(run["plan_ms"]) == {"p50", "p99"}
        assert (run["requests"], run["refused"]) == (60, 0)
    assert written["arguments"]["kv_tokens"] == 800
    assert written["arguments"]["profile"] == "llama-3.1-8b/h100-sxm-80gb/tp1"
    # What is published says nothing of this machine's folders.
    assert written["arguments"]["trace"] == "trace.csv"
    assert str(tmp_path) not in out.read_text()
    assert set(written["environment"]) == {"commit", "dirty", "python", "cpu_count"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_every_option_reaches_the_run(trace, tmp_path) -> None:
    out, lengths = tmp_path / "runs.json", tmp_path / "lengths.csv"
    lengths.write_text("input_tokens,output_tokens\n30,8\n60,12\n")
    done = replay(
        "--synthetic", "--rate", 40, "--intensity", 2, "--burst-share", 0.3,
        "--cycle-s", 4, "--duration-s", 2, "--lengths", lengths, "--seed", 3,
        "--ttft-s", "input/5000", "--tds", 7.5, "--kv-tokens", 512,
        "--resume", "offload", "--set", "max_throughput_loss=0.2",
        "--scheduler", "lqsf", "--scheduler", "fcfs", "--scheduler", "lqsf",
        "--profile", "phi-3-mini/a100-sxm4-40gb/tp1", "--json", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    written = json.loads(out.read_text())
    assert [run["scheduler"] for run in written["runs"]] == ["lqsf", "fcfs"]
    assert written["arguments"] | {"json": None} == {
        "trace": None,
        "synthetic": True,
        "lengths": "lengths.csv",
        "rate": 40.0,
        "intensity": 2.0,
        "burst_share": 0.3,
        "cycle_s": 4.0,
        "duration_s": 2.0,
        "profile": "phi-3-mini/a100-sxm4-40gb/tp1",
        "kv_tokens": 512,
        "resume": "offload",
        "ttft_s": "input/5000",
        "tds": 7.5,
        "seed": 3,
        "patience_s": None,
        "settings": {"max_throughput_loss": "0.2"},
        "scheduler": ["lqsf", "fcfs", "lqsf"],
        "json": None,
        "plot": None,
    }


def test_refused_requests_are_told_of(trace) -> None:
    done = replay("--trace", trace, "--kv-tokens", 224, "--scheduler", "fcfs")
    assert done.exit_code == 0
    assert "requests are larger than the engine" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "exactly one of --trace FILE and --synthetic; there is neither"),
        (["--synthetic", "--trace", "x.csv"], "there is both"),
        (["--synthetic", "--rate", "0"], "--rate=0 is invalid: it must be a number from"),
        (["--synthetic", "--profile", "gpt"], "llama-3.1-8b/h100-sxm-80gb/tp1, "),
        (
            ["--synthetic", "--scheduler", "sjf"],
            "fcfs, shortest-prompt, round-robin, lqsf, tokenflow, andes-paper, andes",
        ),
        (["--synthetic", "--resume", "swap"], "one of recompute, offload"),
        (
            ["--synthetic", "--kv-tokens", "1"],
            "a whole number from 16 to 20,000,000 tokens",
        ),
        (["--synthetic", "--ttft-s", "soon"], "600.0 seconds, or input/5000."),
        (["--synthetic", "--tds", "fast"], "1,000.0 tokens/s, or reading or listening."),
        (["--synthetic", "--tds", "none"], "--tds=none is invalid"),
        (["--synthetic", "--set", "horizon"], "--set horizon is invalid: it must be KEY="),
        (["--synthetic", "--set", "speed=9"], "--set speed is invalid: the fields are"),
        (["--synthetic", "--set", "policy=fcfs"], "--scheduler decides it"),
        (["--synthetic", "--intensity", "9"], "their product must be at most 1"),
        (["--synthetic", "--lengths", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--synthetic", "--plot", "x.bmp"], "must end in one of .png, .svg, .pdf"),
        (["--synthetic", "--rate", "0.001", "--duration-s", "1"], "no request arrives"),
        (["--trace", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--trace", "x.csv", "--cycle-s", "60"], "--cycle-s shapes a synthetic load"),
    ],
)
def test_a_bad_option_is_one_clear_line_and_exit_code_2(arguments, message) -> None:
    refused = replay(*arguments)
    assert refused.exit_code == 2, refused.output
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stdout == ""


def test_a_trace_without_rows_is_refused_in_one_line(trace) -> None:
    trace.write_text("arrival_s,input_tokens,output_tokens\n")
    refused = replay("--trace", trace)
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "no requests in the file" in refused.stderr


def test_ctrl_c_is_one_line_and_writes_nothing(tmp_path, monkeypatch) -> None:
    out, replay_it = tmp_path / "runs.json", bench.replay.run.replay

    is_over = threading.Event()

    def press() -> None:
        # Again and again: Python ignores one that comes while it collects garbage.
        while not is_over.wait(0.5):
            os.kill(os.getpid(), signal.SIGINT)

    def begin(*args: object) -> object:
        presses = threading.Thread(target=press)
        presses.start()
        try:
            return replay_it(*args)
        finally:
            is_over.set()
            presses.join()

    # However long a busy machine takes to come that far.
    monkeypatch.setattr(bench.replay.run, "replay", begin)
    stopped = replay("--synthetic", "--rate", 20, "--kv-tokens", 20_000, "--json", out)
    assert stopped.exit_code == 130
    assert stopped.stderr == "andes: stopped: nothing is written.\n"
    assert stopped.stdout == ""
    assert not out.exists()


def test_vllm_says_nothing_on_the_terminal(trace) -> None:
    done = subprocess.run(
        [
            sys.executable, "-c", "from bench.cli import main; main()", "replay",
            "--trace", str(trace), "--scheduler", "fcfs",
        ],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "VLLM_LOGGING_LEVEL"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("area QoE") == 1
