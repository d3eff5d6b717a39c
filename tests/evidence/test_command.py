import re

import pytest
from typer.testing import CliRunner

pytest.importorskip("vllm")
pytest.importorskip("scipy")

from bench.cli import app

runner = CliRunner()


def bound(*arguments: object):
    return runner.invoke(app, ["bound", *map(str, arguments)])


def share(*arguments: object) -> float:
    done = bound("--synthetic", "--rate", 20, "--cycle-s", 20, *arguments)
    assert done.exit_code == 0, done.output
    told = re.search(r"at most (\S+) under any schedule .* found in \S+ s", done.stdout)
    assert told is not None, done.stdout
    return float(told[1])


def test_the_share_is_told_and_each_option_reaches_it() -> None:
    scarce = share("--kv-tokens", 8000)
    assert 0 < scarce < 1
    assert share("--kv-tokens", 8000, "--tds", 40) < scarce
    assert share("--kv-tokens", 8000, "--time-limit-s", 0) > scarce
    assert share("--kv-tokens", 8000, "--profile", "phi-3-mini/a100-sxm4-40gb/tp1") < scarce
    assert share("--kv-tokens", 8000, "--bin-s", 60) > scarce


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "exactly one of --trace FILE and --synthetic; there is neither"),
        (["--synthetic", "--bin-s", "0"], "--bin-s=0 is invalid: it must be a number from"),
        (["--trace", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--trace", "x.csv", "--cycle-s", "60"], "--cycle-s shapes a synthetic load"),
    ],
)
def test_a_bad_option_is_one_clear_line_and_exit_code_2(arguments, message) -> None:
    refused = bound(*arguments)
    assert refused.exit_code == 2, refused.output
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
