import re

from evidence.families import FAMILIES
from evidence.policy.jobs import ANDES, BURST, Load, RateJob, plan_jobs
from evidence.policy.page import page, summary
from evidence.policy.plot import plot

RATES = [RateJob(name) for name in FAMILIES]


def whole(make) -> list:
    return [make.row(job) for job in (*RATES, *plan_jobs(FAMILIES))]


def tables(text: str) -> list[list[str]]:
    return [t.splitlines() for t in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def test_the_page_of_everything_has_every_section_in_order(make, tmp_path) -> None:
    result = make.evidence(whole(make))
    text = page(result)
    titles = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert [title.split(",")[0] for title in titles] == [
        *["Validation"] * 2,
        *["Tuning"] * 2,
        "Validation",
        "Targets",
        "Losses",
        "What each part is worth",
        "The curve of `max_throughput_loss`",
        "Who waits",
    ]
    assert "missing" not in text
    assert "Made by `andes evidence` at commit abcabcabcabc" in text
    for table in tables(text):
        assert len({line.count("|") for line in table}) == 1, table[0]
    plot(result, tmp_path / "policy.png")
    assert (tmp_path / "policy.png").stat().st_size > 10_000


def test_the_best_of_each_column_is_bold_and_means_are_over_seeds(make) -> None:
    text = page(make.evidence(whole(make)))
    validation = next(t for t in tables(text) if t[0].startswith("|  | mean area"))
    rows = {line.split(" | ")[0].strip("| "): line for line in validation[2:]}
    # Five seeds, each 0.01 above the one before; the bound is 0.9.
    assert rows["andes"].startswith("| andes | **0.820** | 0.500 |")
    assert rows["fcfs"].startswith("| fcfs | 0.320 |")
    assert "| **0.911** |" in rows["andes"]


def test_what_is_missing_and_what_failed_is_said(make) -> None:
    rows = whole(make)
    result = make.evidence(rows[:-3], planned=len(rows) - len(RATES), failed={"x": "x: no"})
    text = page(result)
    assert f"**3 of {len(rows) - len(RATES)} runs and bounds are missing.**" in text
    assert "## Failed\n\n- x: no" in text


def test_plans_that_failed_are_told(make) -> None:
    run = make.run(Load("azure", BURST), ANDES["offload"], plan_failures=2)
    assert "andes on azure burst-2, seed 0: 2 plans failed" in page(make.evidence([run]))


def test_a_page_of_nothing_is_a_page(make, tmp_path) -> None:
    assert page(make.evidence([], planned=3)).startswith("# One policy")
    plot(make.evidence([]), tmp_path / "policy.png")


def test_the_summary_has_a_row_for_each_validation_family(make) -> None:
    text = summary(make.evidence(whole(make)))
    assert "| azure | 0.320 | 0.720 | 0.720 andes-paper | 0.820 | 0.820 |" in text
    assert "rag" not in text
