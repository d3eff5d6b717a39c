"""The page as it ships: complete, its own, readable, and with the run that it plays."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from qoe import Expectation, area_qoe

REPO = Path(__file__).parents[2]
PAGE = REPO / "web" / "static"
PACER = REPO / "pacer" / "js"
MODULES = sorted([*PAGE.rglob("*.js"), *PACER.glob("*.js")])
RECORDED = PAGE / "recorded.json"
# WCAG 2.2, 1.4.3: text, level AA.
MIN_CONTRAST = 4.5


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_import_only_what_ships(path: Path) -> None:
    for name in re.findall(
        r'^(?:import|export)\b[^;"]*\bfrom "([^"]+)"', path.read_text(), re.M
    ):
        inside = name.replace("../pacer/", f"{PACER}/") if PAGE in path.parents else name
        assert (path.parent / inside).resolve().is_file(), f"{path.name}: {name}"


def test_the_page_refers_to_nothing_that_does_not_ship() -> None:
    page = (PAGE / "index.html").read_text()
    for name in re.findall(r'<(?:link|script)[^>]*(?:href|src)="([^"]+)"', page):
        assert (PAGE / name).is_file(), name
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    for path in PAGE.rglob("*.js"):
        used = set(re.findall(r'\$\("([^"]+)"\)', path.read_text()))
        assert used <= ids, f"{path.name}: {used - ids}"
    assert {name[1:] for name in re.findall(r'href="(#[^"]+)"', page)} <= ids


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = (PAGE / "index.html").read_text()
    assert "default-src 'self'" in page
    for path in [*PAGE.rglob("*.css"), *MODULES]:
        assert "//" not in re.sub(
            r"(^|\s)//.*|http://www.w3.org/2000/svg", "", path.read_text()
        )


def _colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", css))


def _luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(scheme: str) -> None:
    light, dark, *_ = (PAGE / "css" / "base.css").read_text().split("@media")
    colours = _colours(light) if scheme == "light" else _colours(light) | _colours(dark)
    pairs = [
        *itertools.product(("ink", "soft", "ahead", "good", "bad"), ("paper", "card")),
        ("on-good", "good"),
    ]
    for text, ground in pairs:
        assert _contrast(colours[text], colours[ground]) >= MIN_CONTRAST, (text, ground)


def test_the_recorded_run_is_small_says_where_it_is_from_and_scores_its_own_tokens() -> (
    None
):
    assert RECORDED.stat().st_size < 300_000
    recorded = json.loads(RECORDED.read_text())
    assert "python -m bench.recording" in recorded["command"]
    assert re.fullmatch(r"[0-9a-f]{40}", recorded["made_by"]["commit"])
    for run in recorded["runs"].values():
        for reader, steps in zip(recorded["readers"], run["tokens_ms"], strict=True):
            times_s = [t / 1000 for t in itertools.accumulate(steps)]
            score = area_qoe(times_s, Expectation(reader["ttft_s"], reader["tds"]))
            assert run["qoe"][reader["row"]] == pytest.approx(score, abs=2e-3)
