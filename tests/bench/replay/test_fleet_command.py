import json
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("vllm")

import bench.fleet.run  # noqa: F401 - so that no test pays for loading vLLM
from bench.cli import app

FLEET_KEYS = {
    "router",
    "replicas",
    "imbalance",
    "failed",
    "rerouted",
    "resumed",
    "fallbacks",
    "gpu_seconds",
    "scaling",
}
REPLICA_KEYS = {
    "requests",
    "mean_qoe_area",
    "p5_qoe_area",
    "tokens_per_s",
    "preemptions",
    "busy_share",
}
runner = CliRunner()


def replay(*arguments: object) -> Any:
    return runner.invoke(app, ["replay", *map(str, arguments)])


def test_a_fleet_is_told_and_written_for_each_scheduler_and_router(trace, tmp_path) -> None:
    out = tmp_path / "runs.json"
    done = replay(
        "--trace", trace, "--kv-tokens", 800, "--replicas", 2, "--json", out,
        "--router", "pow2", "--router", "qoe", "--router", "pow2", "--router-count", 3,
        "--scheduler", "fcfs", "--scheduler", "andes", "--report-period-s", 0.2,
        "--report-delay-s", 0.05, "--report-loss", 0.1, "--replica-speeds", "1.3, 0.6",
        "--at", "0.2 slow 1 0.5", "--at", "0.5 kill 0", "--resume-elsewhere",
        "--direct-streaming", "--plot", tmp_path / "runs.png",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for text in ("pow2 +", "fcfs", "qoe +", "andes", "demand, CV", "rerouted"):
        assert text in done.stdout
    written = json.loads(out.read_text())
    assert [(run["scheduler"], run["router"]) for run in written["runs"]] == [
        ("fcfs", "pow2"), ("fcfs", "qoe"), ("andes", "pow2"), ("andes", "qoe"),
    ]  # fmt: skip
    for run in written["runs"]:
        assert set(run) >= FLEET_KEYS
        assert set(run["imbalance"]) == {"requests_cv", "demand_cv"}
        assert [set(replica) for replica in run["replicas"]] == [REPLICA_KEYS] * 2
        assert sum(replica["requests"] for replica in run["replicas"]) == 60
        assert run["failed"] == 0
        assert run["resumed"] > 0
    assert written["arguments"]["router"] == ["pow2", "qoe", "pow2"]
    assert written["arguments"]["fleet"] == {
        "replicas": 2,
        "router_count": 3,
        "report_period_s": 0.2,
        "report_delay_s": 0.05,
        "report_loss": 0.1,
        "replica_speeds": [1.3, 0.6],
        "engine_size": 1,
        "at": [
            {"at_s": 0.2, "kind": "slow", "replica": 1, "speed": 0.5},
            {"at_s": 0.5, "kind": "kill", "replica": 0, "speed": 1.0},
        ],
        "resume_elsewhere": True,
        "direct_streaming": True,
        "autoscale": [],
        "min_replicas": 1,
        "max_replicas": 8,
        "startup_s": 30.0,
        "autoscale_period_s": None,
        "workers": 1,
    }


def test_autoscalers_are_compared_with_their_replicas_over_time(trace, tmp_path) -> None:
    out, page = tmp_path / "runs.json", tmp_path / "scaling.md"
    done = replay(
        "--trace", trace, "--kv-tokens", 800, "--replicas", 1, "--max-replicas", 3,
        "--startup-s", 0.3, "--autoscale-period-s", 0.1, "--scheduler", "andes",
        "--router", "kv_ledger", "--autoscale", "qoe",
        "--autoscale", "ongoing,target_ongoing_requests=5,upscale_delay_s=0",
        "--json", out, "--plot", tmp_path / "runs.png", "--page", page,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    qoe, ongoing = json.loads(out.read_text())["runs"]
    for run, policy in ((qoe, "qoe"), (ongoing, "ongoing")):
        assert run["scaling"]["policy"] == policy
        assert run["scaling"]["steps"][0]["serving"] == 1
        assert max(step["serving"] for step in run["scaling"]["steps"]) <= 3
        assert run["gpu_seconds"] > run["makespan_s"]
        assert {"at_s", "before", "after"} == set(run["scaling"]["events"][0])
    assert ongoing["scaling"]["settings"]["target_ongoing_requests"] == 5
    told = page.read_text()
    assert "`ongoing,target_ongoing_requests=5,upscale_delay_s=0`" in told
    assert f"{qoe['gpu_seconds']:,.0f}" in told
    assert "(scaling-curve.png)" in told
    assert (tmp_path / "scaling-curve.png").read_bytes().startswith(b"\x89PNG")


def test_streams_cut_off_and_faults_that_came_too_late_are_told_of(trace) -> None:
    done = replay(
        "--trace", trace, "--kv-tokens", 800, "--replicas", 2, "--scheduler", "fcfs",
        "--at", "0.5 kill 0", "--at", "900 kill 1",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    cut_off, too_late = done.stderr.splitlines()
    assert "qoe + fcfs: " in cut_off
    assert "were cut off or found no replica alive" in cut_off
    assert "--at 900 kill 1 changed nothing: the last token came at " in too_late


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--synthetic", "--replicas", "0"],
            "--replicas=0 is invalid: it must be a whole number from 1 to 1,024 replicas",
        ),
        (
            ["--synthetic", "--replicas", "2", "--router", "random"],
            "--router=random is invalid: it must be one of round_robin, pow2, least_out",
        ),
        (
            ["--synthetic", "--replicas", "3", "--replica-speeds", "1,2"],
            "--replica-speeds=1,2 is invalid: it must have 3 numbers",
        ),
        (
            ["--synthetic", "--replicas", "2", "--replica-speeds", "1,0"],
            "a speed=0 is invalid: it must be a number from 0.01 to 100 times",
        ),
        (
            ["--synthetic", "--replicas", "2", "--at", "60 kill 2"],
            "--at 60 kill 2 is invalid: REPLICA must be a whole number from 0 to 1.",
        ),
        (
            ["--synthetic", "--replicas", "2", "--at", "60 stop 1"],
            "--at 60 stop 1 is invalid: it must be SECONDS KIND REPLICA",
        ),
        (
            ["--synthetic", "--replicas", "2", "--autoscale", "cpu"],
            "--autoscale cpu is invalid: it must be NAME or NAME,KEY=VALUE,...",
        ),
        (
            ["--synthetic", "--replicas", "2", "--autoscale", "qoe,work=1"],
            "--autoscale qoe,work=... is invalid: the settings of qoe are",
        ),
        (
            ["--synthetic", "--replicas", "2", "--max-replicas", "4"],
            "--max-replicas has no effect without --autoscale.",
        ),
        (
            ["--synthetic", "--replicas", "2", "--page", "x.md"],
            "--page has no effect without --autoscale.",
        ),
        (["--synthetic", "--router", "qoe"], "--router has no effect without --replicas."),
        (["--synthetic", "--at", "1 kill 0"], "--at has no effect without --replicas."),
    ],
)
def test_a_bad_option_of_a_fleet_is_one_clear_line_and_exit_code_2(
    arguments: list[str], message: str
) -> None:
    refused = replay(*arguments)
    assert refused.exit_code == 2, refused.output
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stdout == ""
