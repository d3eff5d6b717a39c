import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

pytest.importorskip("vllm")

from bench.cli import app
from bench.errors import UserError
from bench.grid.arguments import GridArguments, grid_arguments
from bench.grid.cells import ANDES, CENTRE
from bench.grid.command import run_grid
from bench.grid.runner import Measured, Workers

ROOT = Path(__file__).parents[3]
OPTIONS = ("regime", "seeds", "cycle_s", "jobs", "sharegpt", "azure", "out")
FLAGS = ("quick", "partial", "redraw")
runner = CliRunner()


def grid(*arguments: object):
    return runner.invoke(app, ["grid", *map(str, arguments)])


class FakeWorkers(Workers):
    """Answers at once, but some runs, by number, end otherwise."""

    def __init__(self, make, ends: dict[int, BaseException]) -> None:
        self._make, self._ends = make, ends

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, cells) -> Iterator:
        for number, key in enumerate(cells):
            end = self._ends.get(number) if len(cells) > 3 else None
            if end is not None and not isinstance(end, Exception):
                raise end
            yield (
                key,
                end or Measured(self._make.row("C", CENTRE, ANDES).metrics, 0, 1.5, 0.1),
            )


@pytest.fixture
def arguments(tmp_path) -> GridArguments:
    return GridArguments(regime=("C",), seeds=1, cycle_s=60.0, out=tmp_path)


def test_a_tiny_grid_from_the_command_line_to_the_pictures(tmp_path) -> None:
    lengths, out = tmp_path / "short.csv", tmp_path / "deep" / "results"
    lengths.write_text("input_tokens,output_tokens\n300,20\n700,60\n")
    done = grid(
        "--regime", "B", "--quick", "--cycle-s", 2, "--jobs", 1, "--azure", lengths,
        "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "requests/s" in done.stderr
    assert "core-seconds" in done.stderr
    assert "prefill-bound" in done.stdout
    written = json.loads((out / "grid.json").read_text())
    assert written["command"] == (
        "andes grid --regime B --quick --cycle-s 2 --azure short.csv"
    )
    assert (written["failed"], written["planned"]) == ({}, len(written["rows"]))
    assert written["regimes"]["B"]["rate"] > 1
    assert str(tmp_path) not in (out / "grid.json").read_text()
    row = written["rows"][0]
    assert row["metrics"]["requests"] > 0
    assert {"regime", "cell", "contender", "seed", "rate", "load"} <= set(row)
    assert {path.name for path in out.iterdir()} == {
        "grid.json", "grid.md", "grid-summary.md", "grid-sweeps.png", "grid-tails.png",
    }  # fmt: skip
    page = (out / "grid.md").read_text()
    (out / "grid.md").unlink()
    assert grid("--redraw", "--out", out).exit_code == 0
    assert (out / "grid.md").read_text() == page


def test_a_cell_that_fails_is_told_of_and_loses_no_other(make, arguments, capsys) -> None:
    ends = {2: RuntimeError("the scheduler\nis stuck")}
    code = run_grid(arguments, lambda _: FakeWorkers(make, ends))
    assert code == 1
    assert "RuntimeError: the scheduler is stuck" in capsys.readouterr().err
    written = json.loads((arguments.out / "grid.json").read_text())
    assert len(written["rows"]) == written["planned"] - 1
    assert len(written["failed"]) == 1
    assert "RuntimeError: the scheduler is stuck" in (arguments.out / "grid.md").read_text()
    assert (arguments.out / "grid-capacity.png").exists()


def test_a_stopped_grid_writes_nothing_unless_asked(make, arguments) -> None:
    ends = {5: KeyboardInterrupt()}
    with pytest.raises(UserError, match="stopped: nothing is written") as stopped:
        run_grid(arguments, lambda _: FakeWorkers(make, ends))
    assert stopped.value.exit_code == 130
    assert not list(arguments.out.iterdir())


def test_partial_keeps_what_a_stopped_grid_has(make, tmp_path, capsys) -> None:
    arguments = GridArguments(
        regime=("C",), seeds=1, cycle_s=60.0, out=tmp_path, partial=True
    )
    run_grid(arguments, lambda _: FakeWorkers(make, {5: KeyboardInterrupt()}))
    assert "stopped after 5 of" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "grid.json").read_text())["rows"]) == 5
    assert "runs are missing" in (tmp_path / "grid.md").read_text()


def test_missing_lengths_are_said_and_drawn(make, arguments, capsys) -> None:
    run_grid(arguments, lambda _: FakeWorkers(make, {}))
    assert (
        "! No file of lengths for C: they are lognormal there." in capsys.readouterr().err
    )
    assert "lognormal" in (arguments.out / "grid.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--regime", "D"], "--regime=D is invalid: it must be one of A, B, C."),
        (["--seeds", "0"], "--seeds=0 is invalid: it must be a whole number from 1 to 100"),
        (["--cycle-s", "no"], "--cycle-s=no is invalid: it must be a number from 1"),
        (["--jobs", "0"], "--jobs=0 is invalid: it must be a whole number from 1 to 256"),
        (["--quick"], "--quick needs --out DIR: docs/results is for the whole grid."),
        (["--out", "README.md"], "--out=README.md is invalid: it must be a folder that"),
        (["--out", "README.md/x"], "--out=README.md/x is invalid: it must be a folder"),
        (["--sharegpt", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--redraw", "--out", "nowhere"], "grid.json: No such file"),
    ],
)
def test_a_bad_option_is_one_clear_line_and_exit_code_2(
    options, message, monkeypatch
) -> None:
    monkeypatch.chdir(ROOT)
    refused = grid(*options)
    assert refused.exit_code == 2, refused.output
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stdout == ""


def test_the_command_that_is_published_makes_the_same_grid_again(tmp_path) -> None:
    def command(**given) -> str:
        unset = dict.fromkeys(OPTIONS) | dict.fromkeys(FLAGS, False)
        return grid_arguments({**unset, **given}).command

    assert command() == "andes grid"
    assert command(regime=["C", "A"], seeds=5) == (
        "andes grid --regime A --regime C --seeds 5"
    )
    assert command(quick=True, out=tmp_path, cycle_s=60.0) == "andes grid --quick"
    assert command(cycle_s=1200.0, sharegpt=tmp_path / "x y.csv") == (
        "andes grid --cycle-s 1200 --sharegpt 'x y.csv'"
    )


def test_ctrl_c_ends_every_worker_and_is_one_line(tmp_path) -> None:
    process = subprocess.Popen(
        [
            sys.executable, "-c", "from bench.cli import main; main()", "grid",
            "--jobs", "2", "--out", str(tmp_path / "out"),
        ],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    parent = psutil.Process(process.pid)
    deadline_s = time.monotonic() + 60
    # Two workers, and the process that tracks what they share.
    while len(workers := parent.children()) < 3 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    time.sleep(1.0)
    # As a terminal does: to all of them.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "andes: stopped: nothing is written.\n"
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert not (tmp_path / "out").exists()
