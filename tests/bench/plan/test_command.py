import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

pytest.importorskip("vllm")

from bench.cli import app
from bench.errors import UserError
from bench.plan.arguments import PlanArguments
from bench.plan.command import Job, replay_fleet_of, run_plan
from bench.plan.contenders import Contender
from bench.plan.results import PlanResult, read_plan
from bench.plan.targets import Target

runner = CliRunner()
PNG = b"\x89PNG\r\n\x1a\n"
ANDES = Contender("andes", "kv_ledger")
FCFS = Contender("fcfs", "pow2")


@pytest.fixture
def plan(trace, tmp_path, workers_here):
    """Plans for engines that hold four streams; the result, and the exit code."""

    def plan(**options) -> tuple[PlanResult, int]:
        given = {
            "trace": trace,
            "kv_tokens": 800,
            "target": (Target("mean", 0.9),),
            "contender": (FCFS, ANDES),
            "max_replicas": 8,
            "json": tmp_path / "plan.json",
            "plot": tmp_path / "plan.png",
            "page": tmp_path / "plan.md",
        }
        code = run_plan(PlanArguments(**given | options), "andes plan", workers_here)
        return read_plan(tmp_path / "plan.json"), code

    return plan


def test_a_plan_is_the_fewest_replicas_that_do_and_says_what_they_cost(
    plan, tmp_path
) -> None:
    result, code = plan()
    assert code == 0
    assert result.requests == 60
    for outcome in result.outcomes:
        assert outcome.chosen is not None
        assert outcome.chosen.quality.mean_qoe_area >= 0.9
        assert outcome.gpus == outcome.replicas
        assert outcome.gpu_hours == pytest.approx(outcome.replicas * result.hours)
        fewer = [p for p in outcome.probes if p.replicas == outcome.replicas - 1]
        assert outcome.replicas == 1 or fewer[0].quality.mean_qoe_area < 0.9
    assert (tmp_path / "plan.png").read_bytes().startswith(PNG)
    page = (tmp_path / "plan.md").read_text()
    assert "Made by `andes plan`" in page
    assert "(plan.png)" in page
    assert "trace.csv" not in page
    assert str(tmp_path) not in (tmp_path / "plan.json").read_text()


def test_all_targets_are_to_be_met(plan) -> None:
    low = Target("mean", 0.1)
    one, _ = plan(contender=(FCFS,), target=(low,))
    both, _ = plan(contender=(FCFS,), target=(low, Target("p5", 0.97)))
    assert both.outcomes[0].replicas > one.outcomes[0].replicas
    assert both.outcomes[0].chosen.quality.p5_qoe_area >= 0.97


def test_a_target_out_of_reach_says_so_with_the_best_value(plan, capsys, tmp_path) -> None:
    result, code = plan(max_replicas=1, contender=(FCFS,), target=(Target("p5", 1.0),))
    assert code == 1
    assert result.outcomes[0].replicas is result.outcomes[0].gpu_hours is None
    said = capsys.readouterr()
    best = result.outcomes[0].probes[0].quality.p5_qoe_area
    assert f"the best it reached is p5 {best:.3f} with 1 (asked: 1)" in said.err
    assert "out of reach" in said.out
    assert "out of reach" in (tmp_path / "plan.md").read_text()


def test_a_run_that_fails_names_its_contender(trace, workers_here) -> None:
    class Failing(workers_here):
        def each(self, jobs, do):
            yield next(iter(jobs)), RuntimeError("no stream was served")

    arguments = PlanArguments(trace=trace, contender=(FCFS,), max_replicas=4)
    with pytest.raises(UserError, match=r"fcfs\+pow2 with 2 replicas failed: no stream"):
        run_plan(arguments, "andes plan", Failing)


def test_a_plan_can_be_sent_to_a_process_and_back(trace) -> None:
    arguments = PlanArguments(trace=trace, kv_tokens=800)
    job = Job(arguments.cell(ANDES), ANDES.router, 2)
    probe = replay_fleet_of(job)
    again = msgspec.json.decode(msgspec.json.encode(probe), type=type(probe))
    assert again == probe
    assert probe.gpu_seconds == pytest.approx(2 * probe.makespan_s)


@pytest.mark.nightly
def test_the_command_plans_in_processes(trace, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = ["plan", "--trace", str(trace), "--kv-tokens", "800", "--max-replicas", "3"]
    words += ["--contender", "fcfs+round_robin", "--workers", "1", "--json", str(out)]
    done = runner.invoke(app, [*words, "--target", "mean>=0.3"])
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["outcomes"][0]["replicas"] <= 3
    assert "GPU-hours" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "mean=0.9"], "--target mean=0.9 is invalid"),
        (["--contender", "andes"], "--contender andes is invalid"),
        (["--max-replicas", "0"], "--max-replicas=0 is invalid"),
        (["--page", "plan.txt"], "--page=plan.txt is invalid: its name must end in .md"),
        (["--set", "default_tds=no"], "--set default_tds=no is invalid"),
        (["--synthetic"], "give exactly one of --trace FILE and --synthetic"),
    ],
)
def test_a_mistake_ends_in_one_sentence_before_anything_runs(trace, words, message) -> None:
    refused = runner.invoke(app, ["plan", "--trace", str(trace), *words])
    assert refused.exit_code == 2, refused.output
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stdout == ""
