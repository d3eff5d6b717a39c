"""What GitHub runs is what the README's user runs: targets and files that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(workflow: Path) -> list[str]:
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    return [step["run"] for step in steps if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is(workflow: Path) -> None:
    assert commands(workflow)
    for command in commands(workflow):
        last = command.split()[-1]
        is_file = (ROOT / last).is_file()
        assert is_file or (command.startswith("make ") and last in TARGETS), command


def test_every_change_goes_through_the_same_gate_as_here() -> None:
    (ci,) = (path for path in WORKFLOWS if path.stem == "ci")
    assert any(command.endswith(".ci/run") for command in commands(ci))
