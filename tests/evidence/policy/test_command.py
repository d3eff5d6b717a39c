"""The command from the runs to the page, on a load of a few streams."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm")
pytest.importorskip("scipy")

from typer.testing import CliRunner

from bench.cli import app
from bench.errors import UserError
from bench.replay.workers import Workers
from evidence.policy import command, jobs
from evidence.policy.command import EvidenceArguments, run_evidence
from evidence.policy.jobs import ANDES, BURST, FCFS, Part, RunJob
from evidence.policy.measure import measure
from evidence.policy.results import read

JOBS_PLANNED = 4


class InThisProcess(Workers):
    """Does the jobs one after another."""

    def __init__(self, count: int) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass

    def each(self, jobs: Any, do: Any) -> Iterator[tuple[Any, Any]]:
        for key, job in jobs.items():
            try:
                yield key, do(job)
            except Exception as error:
                yield key, error


@pytest.fixture
def few_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part(("short-chat",), (BURST,), [FCFS, *ANDES.values()], 1)
    monkeypatch.setattr(jobs, "parts", lambda: [part])
    # 20 streams on an engine that holds three of them.
    monkeypatch.setattr(command, "_QUICK_SCALE", 0.03)


@pytest.fixture
def arguments(tmp_path: Path) -> EvidenceArguments:
    return EvidenceArguments(quick=True, out=tmp_path / "deep" / "results")


@pytest.mark.engine
@pytest.mark.usefixtures("few_jobs")
def test_a_stopped_command_goes_on_and_its_page_is_drawn_again_the_same(
    arguments: EvidenceArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    def count(job: Any, world: Any) -> Any:
        if len(done) == 2:
            done.clear()
            raise KeyboardInterrupt
        done.append(job)
        return measure(job, world)

    monkeypatch.setattr(command, "measure", count)
    with pytest.raises(UserError, match=f"1 of {JOBS_PLANNED} are kept") as stopped:
        run_evidence(arguments, InThisProcess)
    assert stopped.value.exit_code == 130
    monkeypatch.setattr(command, "measure", measure)
    assert run_evidence(arguments, InThisProcess) == 0
    result = read(arguments.out / "policy.json")
    # The rate, three runs and a bound.
    assert len(result.rows) == JOBS_PLANNED + 1
    assert (arguments.out / "policy-runs.jsonl").read_text().count('{"code') == 5
    page, picture = arguments.out / "policy.md", arguments.out / "policy.png"
    before = page.read_bytes(), picture.read_bytes()
    page.unlink()
    again = CliRunner().invoke(app, ["evidence", "--redraw", "--out", str(arguments.out)])
    assert again.exit_code == 0, again.output
    assert (page.read_bytes(), picture.read_bytes()) == before
    assert "| short-chat |" in again.stdout


@pytest.mark.usefixtures("few_jobs")
def test_a_run_that_fails_is_told_and_the_others_are_kept(
    arguments: EvidenceArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sometimes(job: Any, world: Any) -> Any:
        if isinstance(job, RunJob) and job.contender == ANDES["offload"]:
            raise RuntimeError("no\n luck")
        return measure(job, world)

    monkeypatch.setattr(command, "measure", sometimes)
    assert run_evidence(arguments, InThisProcess) == 1
    result = read(arguments.out / "policy.json")
    assert list(result.failed) == ["andes offload on short-chat burst-2, seed 0"]
    text = (arguments.out / "policy.md").read_text()
    assert "seed 0: RuntimeError: no luck" in text
    assert f"**1 of {JOBS_PLANNED} runs and bounds are missing.**" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--family", "nobody"], "--family=nobody is invalid: it must be one of sharegpt"),
        (["--seeds", "0"], "--seeds=0 is invalid: it must be a whole number from 1 to 100"),
        (["--redraw"], "policy.json: No such file"),
    ],
)
def test_a_bad_option_is_one_line_before_any_run(
    options: list[str], message: str, tmp_path: Path
) -> None:
    refused = CliRunner().invoke(app, ["evidence", "--out", str(tmp_path), *options])
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_smoke_test_does_not_overwrite_the_evidence() -> None:
    refused = CliRunner().invoke(app, ["evidence", "--quick"])
    assert refused.exit_code == 2
    assert "--quick needs --out DIR" in refused.stderr


def test_a_setting_that_is_gone_is_told_before_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = jobs.Contender("andes", settings=(("no_such", "1"),))
    part = Part(("short-chat",), (BURST,), [gone], 1)
    monkeypatch.setattr(jobs, "parts", lambda: [part])
    with pytest.raises(UserError, match="no_such is invalid"):
        run_evidence(EvidenceArguments(quick=True, out=tmp_path), InThisProcess)
    assert not list(tmp_path.iterdir())
