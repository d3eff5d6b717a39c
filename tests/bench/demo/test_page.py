import io
import re
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.demo.comparison import Comparison
from bench.demo.page import markdown, render, table
from bench.demo.verdict import UNSTEADY

ROOT = Path(__file__).parents[3]


@pytest.fixture
def steady(compared) -> Comparison:
    return compared((0.4, 0.5, 0.6), (0.8, 1.0, 0.9))


@pytest.fixture
def shaken(compared) -> Comparison:
    return compared((0.4, 0.5, 0.6), (0.8, 1.0, 0.9), lag_s=2.0)


def test_a_cell_is_the_median_with_its_whole_range(steady) -> None:
    rows = {row[0]: row[1:] for row in table(steady)}
    assert rows["area QoE, mean"] == (
        "0.500 [0.400, 0.600]",
        "0.900 [0.800, 1.000]",
        "2.00×",
    )


def test_a_ratio_to_nothing_is_not_shown(steady) -> None:
    rows = {row[0]: row[1:] for row in table(steady)}
    assert rows["area QoE, p5"][2] == ""


def test_an_unsteady_machine_gets_no_column_of_ratios(shaken) -> None:
    assert {len(row) for row in table(shaken)} == {3}
    page = markdown(shaken)
    assert f"**{UNSTEADY}" in page
    assert "×" not in page
    assert "0.500 [0.400, 0.600]" in page


def test_the_page_names_the_command_and_the_commit_that_made_it(steady) -> None:
    page = markdown(steady)
    assert "`andes demo`" in page
    assert (steady.environment.commit or "")[:12] in page


def test_terminal_and_page_have_the_same_cells(steady) -> None:
    console = Console(width=150, file=io.StringIO())
    with console.capture() as captured:
        console.print(render(steady))
    shown = captured.get()
    for cell in (cell for row in table(steady) for cell in row if cell):
        assert cell in shown
        assert cell in markdown(steady)


def test_the_readme_shows_the_table_that_the_demo_wrote() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"<!-- demo -->\n(.*?)<!-- /demo -->", readme, re.S)[1]
    assert (ROOT / "docs/results/demo.md").read_text().strip() in shown


def test_published_results_name_no_path_of_this_machine() -> None:
    for path in (ROOT / "docs/results").glob("*.json"):
        text = path.read_text()
        assert not re.search(r'"/\w', text), path.name
        msgspec.json.decode(text)
