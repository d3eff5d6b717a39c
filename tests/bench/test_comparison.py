import re
from pathlib import Path

import msgspec
import pytest

from bench import comparison
from bench.comparison import Comparison, Run
from bench.results import SendLag, Summary, environment
from bench.scores import Stall, Tds, Ttft

ROOT = Path(__file__).parents[2]


def summary_of(mean_qoe: float, tokens_per_s: float) -> Summary:
    return Summary(
        mean_qoe_area=mean_qoe,
        p5_qoe_area=0.0,
        share_qoe_area_ge_0_95=0.5,
        mean_qoe_delay=0.9,
        p5_qoe_delay=0.8,
        share_qoe_delay_ge_0_95=0.5,
        ttft_s=Ttft(1.0, 0.5, 3.0),
        stall_s=Stall(0.0, 0.1, 0.2),
        tds=Tds(50.0),
        tokens_per_s=tokens_per_s,
        requests=10,
        errors={},
        short=0,
        clipped=0,
        cancelled=0,
        makespan_s=60.0,
        send_lag_s=SendLag(0.001, 0.002),
    )


@pytest.fixture
def result() -> Comparison:
    measured = {
        "fcfs": [(0.4, 100), (0.5, 110), (0.6, 90)],
        "andes": [(0.8, 95), (1.0, 99), (0.9, 90)],
    }
    runs = [
        Run(policy=policy, pair=pair + 1, summary=summary_of(*measured[policy][pair]))
        for pair, order in enumerate(
            [("fcfs", "andes"), ("andes", "fcfs"), ("fcfs", "andes")]
        )
        for policy in order
    ]
    return Comparison(
        command="andes demo",
        load="a load",
        arguments={},
        environment=environment(),
        runs=runs,
    )


def test_ratios_are_taken_within_pairs_whatever_came_first(result) -> None:
    assert result.ratios(lambda s: s.mean_qoe_area) == pytest.approx([2.0, 2.0, 1.5])


def test_a_cell_is_the_median_with_its_whole_range(result) -> None:
    rows = {row[0]: row[1:] for row in comparison.cells(result)}
    assert rows["area QoE, mean"] == (
        "0.500 [0.400, 0.600]",
        "0.900 [0.800, 1.000]",
        "2.00×",
    )


def test_a_ratio_to_nothing_is_not_shown(result) -> None:
    rows = {row[0]: row[1:] for row in comparison.cells(result)}
    assert rows["area QoE, p5"][2] == ""


def test_the_page_names_the_command_and_the_commit_that_made_it(result) -> None:
    page = comparison.markdown(result)
    assert "`andes demo`" in page
    assert (result.environment.commit or "")[:12] in page


def test_the_readme_shows_the_table_that_the_demo_wrote() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"<!-- demo -->\n(.*?)<!-- /demo -->", readme, re.S)[1]
    assert (ROOT / "docs/results/demo.md").read_text().strip() in shown


def test_published_results_name_no_path_of_this_machine() -> None:
    for path in (ROOT / "docs/results").glob("*.json"):
        text = path.read_text()
        assert not re.search(r'"/\w', text), path.name
        msgspec.json.decode(text)
