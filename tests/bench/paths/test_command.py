"""The service here is a stand-in: what it is asked to be, and what comes of it."""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from bench import serving
from bench.cli import app
from bench.paths.results import WAYS, PathsResult
from deployments.processes import ServiceError


def paths(out: Path) -> Any:
    options = ["--rounds", "2", "--rate", "4", "--duration-s", "2", "--output-tokens", "3"]
    return CliRunner().invoke(app, ["paths", *options, "--out", str(out)])


def test_all_ways_meet_in_each_round_in_turned_order(
    peer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    @contextmanager
    def service(config: Path, overrides: Any, **options: Any) -> Iterator[Any]:
        asked.append(overrides)
        yield types.SimpleNamespace(base_url=peer.url)

    monkeypatch.setattr(serving, "service", service)
    done = paths(tmp_path)
    assert done.exit_code == 0, done.output
    there = [way.overrides for way in WAYS]
    assert asked == there + there[::-1]
    result = msgspec.json.decode((tmp_path / "paths.json").read_bytes(), type=PathsResult)
    assert [run.round for run in result.runs] == [1] * 4 + [2] * 4
    assert all(run.summary.requests > 0 for run in result.runs)
    assert (tmp_path / "paths.md").read_text() in done.stdout + "\n"


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (ServiceError("port 8000 is in use"), "port 8000 is in use", 1),
        (KeyboardInterrupt(), "stopped: nothing is written.", 130),
    ],
)
def test_what_does_not_end_well_is_one_line_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    said: str,
    code: int,
) -> None:
    @contextmanager
    def service(*_: Any, **__: Any) -> Iterator[Any]:
        raise error
        yield

    monkeypatch.setattr(serving, "service", service)
    ended = paths(tmp_path)
    assert ended.exit_code == code
    assert ended.stderr.splitlines()[-1] == f"andes: {said}"
    assert not list(tmp_path.iterdir())
