"""What the pages name exists, and what exists for users is named on a page."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from fnmatch import filter
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from bench.cli import app
from deployments.access.keys import KEYS_ENV
from deployments.environment import SERVING_ENV, STREAMING_ENV
from qoe.fields import FIELDS
from scheduler.settings import SETTINGS_ENV
from telemetry.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").glob("*.md")) + sorted(
    (ROOT / "docs/runbooks").glob("*.md")
)
# Results link, and are made by their commands.
LINKING = PAGES + sorted((ROOT / "docs/results").glob("*.md"))
SOURCE = ("*.py", "*.js", "*.yaml", "*.yml", "*.toml", "*.Dockerfile", "*.sh", "Makefile")
NOT_OURS = {".venv", ".git", ".run", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
TARGETS = set(re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
THEIRS = (
    ("ray", "serve/_private/constants.py"),
    ("ray", "serve/_private/proxy.py"),
    ("uvicorn", "config.py"),
    ("vllm", "envs.py"),
    ("vllm", "engine/arg_utils.py"),
    ("vllm", "sampling_params.py"),
    ("vllm", "entrypoints/openai/chat_completion/protocol.py"),
)
SUFFIXES = (".py", ".md", ".yaml", ".yml", ".json", ".jsonl", ".png")
# Of Ray's dashboard, OpenAI's SDK and kubectl.
OTHERS = {
    "prom_metrics_service_discovery.json",
    "keep_alive_timeout_s",
    "extra_body",
    "--from-file",
}
# Of `andes` and of our modules; what other programs take is theirs.
OURS = re.compile(r"(?:\.venv/bin/)?(andes|make|python -m (\w+(?:\.\w+)+))(?=[ \n]|$)(.*)")


def by_page(paths: list[Path]) -> pytest.MarkDecorator:
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    return pytest.mark.parametrize("path", paths, ids=names)


def prose(path: Path) -> str:
    return re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def inline_code(path: Path) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(path))]


def blocks(path: Path) -> list[str]:
    found = re.findall(
        r"^ *```\w*\n(.*?)^ *```", path.read_text(), re.DOTALL | re.MULTILINE
    )
    return [block.replace("\\\n", " ") for block in found]


@cache
def paths() -> frozenset[str]:
    """Every file and folder of ours, named from the root or from any folder below."""
    tops = [top for top in ROOT.iterdir() if top.name not in NOT_OURS]
    found = [path.relative_to(ROOT) for top in tops for path in (top, *top.rglob("*"))]
    return frozenset("/".join(p.parts[i:]) for p in found for i in range(len(p.parts)))


@cache
def source() -> str:
    """The code and its configuration, without tests and what is generated."""
    paths = [
        path
        for kind in SOURCE
        for top in ROOT.iterdir()
        if top.name not in NOT_OURS | {"tests"}
        for path in ([top] if top.match(kind) else top.rglob(kind))
    ]
    return "\n".join(path.read_text() for path in paths if path.is_file())


@cache
def words() -> set[str]:
    """Every name in our source, and in those files of others that ours are beside."""
    texts = [source()]
    for package, name in THEIRS:
        (folder,) = importlib.util.find_spec(package).submodule_search_locations  # type: ignore
        texts.append((Path(folder) / name).read_text())
    return set(re.findall(r"\w+", "\n".join(texts)))


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """What is started by our own programs on a page: the program, and its arguments."""
    lines = [line.strip() for block in blocks(path) for line in block.splitlines()]
    for text in lines + inline_code(path):
        for part in re.split(r"[;|&]+ ", re.sub(r"^\$B ", "andes bench ", text)):
            if found := OURS.match(part.strip().removeprefix("PYTHONHASHSEED=0 ")):
                program = found[2] or found[1]
                yield program, shlex.split(found[3].rstrip("& "), comments=True)


def heading_ids(path: Path) -> set[str]:
    """As GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in kept}


@by_page(LINKING)
def test_links_and_anchors_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.exists(), target
        assert not anchor or anchor in heading_ids(page), target


@by_page(PAGES)
def test_the_files_that_a_page_names_are_there(path: Path) -> None:
    for code in inline_code(path):
        name = code.rstrip("/")
        if ("/" in code or code.endswith(SUFFIXES)) and re.fullmatch(
            r"[\w*-][\w.*/-]*", code
        ):
            is_there = name in paths() or ("*" in name and filter(paths(), name))
            is_there = bool(is_there) or name in source() or name in OTHERS
            assert is_there, code


@by_page(PAGES)
def test_the_names_in_code_exist(path: Path) -> None:
    """Settings, fields, variables, options: whatever is spelled with underscores."""
    for code in inline_code(path):
        for name in re.findall(r"(?<![\w/.-])[A-Za-z]\w*_\w+\b(?!\.py)", code):
            is_known = name in words() or any(name in other for other in OTHERS)
            is_known |= name.startswith(("ray_andes_", "RAY_gcs_"))
            assert is_known, code


@by_page(PAGES)
def test_commands_and_their_options_exist(path: Path) -> None:
    for program, arguments in commands(path):
        given = [word.partition("=")[0] for word in arguments if word.startswith("--")]
        if program == "make":
            assert {word for word in arguments if word.isalpha()} <= TARGETS, arguments
        elif program == "andes":
            known = COMMANDS[arguments[0]].params if arguments else []
            flags = {flag for param in known for flag in param.opts + param.secondary_opts}
            assert set(given) <= flags, arguments
        else:
            module = ROOT / (program.replace(".", "/") + ".py")
            assert module.exists(), program
            assert all(flag[2:].replace("-", "_") in module.read_text() for flag in given)


@by_page(PAGES)
def test_options_named_alone_are_of_a_command(path: Path) -> None:
    params = [param for command in COMMANDS.values() for param in command.params]
    flags = {flag for param in params for flag in param.opts + param.secondary_opts}
    for code in inline_code(path):
        flag = re.split("[ =]", code)[0]
        if code.startswith("--") and flag not in flags | OTHERS:
            is_known = flag[2:].replace("-", "_") in words()
            assert is_known, code


def test_every_command_target_field_variable_and_metric_is_on_a_page() -> None:
    named = "\n".join(path.read_text() for path in PAGES)
    variables = {KEYS_ENV, SETTINGS_ENV, *STREAMING_ENV, *SERVING_ENV}
    expected = {f"andes {command}" for command in COMMANDS}
    expected |= {f"make {target}" for target in TARGETS}
    expected |= {*FIELDS, *variables, *(metric.name for metric in CATALOGUE)}
    assert {name for name in expected if not re.search(rf"\b{name}\b", named)} == set()


@by_page(PAGES)
def test_the_metrics_of_a_page_are_in_the_catalogue(path: Path) -> None:
    known = {metric.name for metric in CATALOGUE}
    for name in re.findall(r"\b(?:ray_)?(andes_\w+)", path.read_text()):
        assert re.sub(r"_(total|bucket|sum|count)$", "", name) in known or name in known, (
            name
        )
