"""The rooms and arrows of the design: what each folder may import, read off its source."""

import ast
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
ROOMS = {
    "qoe": {"qoe", "numpy"},
    "pacer": {"pacer", "qoe", "regex"},
    "telemetry": {"telemetry", "qoe", "zmq"},
    "scheduler": {"scheduler", "qoe", "telemetry"},
    "router": {"router", "qoe", "telemetry"},
    "dashboards": {"dashboards", "telemetry", "grafana_foundation_sdk", "yaml"},
    "web": {"httpx", "playwright", "typer", "rich"},
}
# The adapters of frameworks; all the rest runs in a unit test without either.
ADAPTERS = {
    "scheduler/tracking.py": {"vllm"},
    "scheduler/refusing.py": {"vllm"},
    "scheduler/andes.py": {"vllm"},
    "scheduler/versions.py": {"vllm"},
    "router/request_router.py": {"ray"},
}
IN_OTHER_ROOMS = {"numpy", "msgspec", "pydantic", "pydantic_core"}
# The client's rooms are small enough to be installed anywhere.
SELF_CONTAINED = {"qoe", "pacer"}
ABOVE_DEPLOYMENTS = {"bench", "evidence", "tests"}


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, also under TYPE_CHECKING or in functions."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "" if node.level == 0 else path.parent.name)
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_is_below_it(room: str) -> None:
    common = set() if room in SELF_CONTAINED else IN_OTHER_ROOMS
    for path in (REPO / room).rglob("*.py"):
        adapts = ADAPTERS.get(path.relative_to(REPO).as_posix(), set())
        extra = imported(path) - ROOMS[room] - common - adapts
        assert not extra, f"{path.relative_to(REPO)} imports {sorted(extra)}"


def test_deployments_import_no_evidence() -> None:
    for path in (REPO / "deployments").rglob("*.py"):
        assert not imported(path) & ABOVE_DEPLOYMENTS, path.relative_to(REPO)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_is_where_it_is_said_to_be(adapter: str) -> None:
    assert imported(REPO / adapter) >= ADAPTERS[adapter]
