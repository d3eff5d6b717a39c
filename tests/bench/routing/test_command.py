from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("vllm")

from bench.cli import app
from bench.errors import UserError
from bench.replay.workers import Workers
from bench.routing import command
from bench.routing.arguments import RoutingArguments
from bench.routing.cells import Job
from bench.routing.command import measure, run_routing
from bench.routing.results import read

SHORT = Job(scenario="equal", router="qoe", seed=0)
OTHER = Job(scenario="equal", router="pow2", seed=0)


class InThisProcess(Workers):
    """Does the jobs one after another, where Ctrl-C is not held back."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __exit__(self, *error: object) -> None:
        pass

    def each(self, jobs: Any, do: Any) -> Iterator[tuple[Any, Any]]:
        for key, job in jobs.items():
            try:
                yield key, do(job)
            except Exception as error:
                yield key, error


def arguments(out: Path, **changes: Any) -> RoutingArguments:
    values = {
        "seeds": 1,
        "duration_s": 2.0,
        "lengths": None,
        "jobs": 1,
        "out": out,
        "redraw": False,
        "command": "andes routers",
    }
    return RoutingArguments(**(values | changes))


@pytest.fixture
def two_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "plan_jobs", lambda seeds: [SHORT, OTHER])


@pytest.mark.usefixtures("two_jobs")
def test_a_short_comparison_ends_in_a_page_that_can_be_drawn_again(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "results"
    assert run_routing(arguments(out), InThisProcess) == 0
    result = read(out / "fleet.json")
    assert [row.job for row in result.rows] == [SHORT, OTHER]
    assert all(row.summary.requests > 0 for row in result.rows)
    text = (out / "fleet.md").read_text()
    assert "Made by `andes routers`" in text
    (out / "fleet.md").unlink()
    assert run_routing(arguments(out, redraw=True), InThisProcess) == 0
    assert (out / "fleet.md").read_text() == text


@pytest.mark.usefixtures("two_jobs")
def test_a_run_that_fails_is_told_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sometimes(job: Job, **options: Any) -> Any:
        if job == OTHER:
            raise RuntimeError("no\n luck")
        return measure(job, **options)

    monkeypatch.setattr(command, "measure", sometimes)
    assert run_routing(arguments(tmp_path), InThisProcess) == 1
    result = read(tmp_path / "fleet.json")
    assert result.failed == {"equal, pow2, 0": "RuntimeError: no luck"}
    assert [row.job for row in result.rows] == [SHORT]


@pytest.mark.usefixtures("two_jobs")
def test_a_comparison_that_is_stopped_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(job: Job, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure", stop)
    with pytest.raises(UserError, match="stopped: nothing is written"):
        run_routing(arguments(tmp_path), InThisProcess)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--redraw"], "fleet.json cannot be read again"),
        (["--lengths", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--seeds", "0"], "--seeds=0 is invalid: it must be a whole number from 1"),
        (["--duration-s", "soon"], "--duration-s=soon is invalid: it must be a number"),
    ],
)
def test_a_bad_option_is_one_line_before_any_run(
    options: list[str], message: str, tmp_path: Path
) -> None:
    refused = CliRunner().invoke(app, ["routers", "--out", str(tmp_path), *options])
    assert refused.exit_code != 0
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
