"""How a run of the tests ends: with what they found, whatever libraries do at exit."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
CRASHES_AT_EXIT = (
    "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGSEGV)\n"
)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    shutil.copy(CONFTEST, tmp_path)
    return tmp_path


def run(suite: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    (suite / "test_it.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "--rootdir", str(suite), "-c", "/dev/null"]
    command += ["-p", "no:cacheprovider", *options, str(suite)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("body", "status", "told", "processes"),
    [
        ("def test_it(): pass", 0, "1 passed", "0"),
        ("def test_it(): pass", 0, "1 passed", "2"),
        ("def test_it(): assert False", 1, "1 failed", "0"),
        ("def test_it(): assert False", 1, "1 failed", "2"),
        ("import nothing_of_that_name", 2, "1 error", "0"),
        ("", 5, "no tests ran", "0"),
    ],
)
def test_a_crash_at_exit_hides_nothing_that_was_found(
    suite, body, status, told, processes
) -> None:
    ended = run(suite, CRASHES_AT_EXIT + body, "-n", processes)
    assert ended.returncode == status
    assert told in ended.stdout.splitlines()[-1]


def test_an_option_that_is_none_is_an_error(suite) -> None:
    ended = run(suite, "def test_it(): pass", "--no-such-option")
    assert ended.returncode == 4
    assert "--no-such-option" in ended.stderr


def test_ctrl_c_is_heard_by_a_suite_started_in_the_background(suite) -> None:
    body = (
        "import os, signal, subprocess, sys\n"
        "def test_it():\n"
        "    asks = 'import signal; print(signal.getsignal(signal.SIGINT).__name__)'\n"
        "    told = subprocess.check_output([sys.executable, '-c', asks], text=True)\n"
        "    assert told.strip() == 'default_int_handler'\n"
    )
    (suite / "test_it.py").write_text(body)
    ignoring = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", ignoring, sys.executable, "-m", "pytest"]
    command += ["--rootdir", str(suite), "-c", "/dev/null", str(suite)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
