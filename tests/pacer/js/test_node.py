"""Everything in JavaScript, by node's own test runner: the pacer, and the page's rules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def node() -> str:
    """Node 20 or later; nothing is proven without it: that is said, and in CI it fails."""
    found = shutil.which("node")
    if found is None:
        what = "there is no node (20 or later) on PATH: nothing in JavaScript is tested"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    return found


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("*.test.mjs")), ids=lambda path: path.name
)
def test_javascript_passes_its_own_tests(node: str, path: Path) -> None:
    run = subprocess.run(
        [node, "--test", str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
