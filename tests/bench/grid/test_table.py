import re
from pathlib import Path

import msgspec
import pytest

from bench.errors import UserError
from bench.grid.cells import (
    ABLATIONS,
    ANDES,
    BY_RATE,
    CENTRE,
    CURVE_CONTENDERS,
    FCFS,
    POISSON,
)
from bench.grid.results import Grid, read_grid, write_grid
from bench.grid.summary import fill_readme, summary
from bench.grid.table import page
from bench.grid.targets import lost_means, lost_tails, targets

ROOT = Path(__file__).parents[3]


def replaced(rows, changed):
    """The rows with one of them exchanged."""
    same = (changed.regime, changed.load, changed.contender, changed.seed)
    return [changed if (r.regime, r.load, r.contender, r.seed) == same else r for r in rows]


def line(text: str, start: str) -> list[str]:
    """The cells of the one table row that begins so."""
    found = [row for row in text.splitlines() if row.startswith(f"| {start} |")]
    assert len(found) == 1, found
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def test_the_page_shows_means_spreads_and_the_best(make) -> None:
    text = page(make.result(make.rows("C")))
    assert line(text, "C 2×, 35%")[1:] == [
        "0.310 ± 0.014",
        "0.510 ± 0.014",
        "**0.810** ± 0.014",
        "0.510 ± 0.014",
        "**0.810** ± 0.014",
    ]
    assert "Made by `andes grid` at commit abcabcabcabc, 2 CPU cores." in text


def test_one_seed_has_no_spread_and_what_was_not_run_is_a_dash(make) -> None:
    rows = [r for r in make.rows("B", seeds=1) if r.contender in (FCFS, ANDES)]
    text = page(make.result(rows))
    assert line(text, "B Poisson")[1:] == ["0.300", "–", "**0.800**", "–", "–"]
    assert "only recomputing was run" in text


def test_verdicts_follow_the_numbers(make) -> None:
    rows = make.rows("A", "B", "C", seeds=1)
    verdicts = {t.what: t.is_reached for t in targets(Grid(rows), ["A", "B", "C"])}
    assert verdicts["A: area QoE, andes / fcfs"]
    assert verdicts["B: area QoE, andes / fcfs"]
    assert verdicts["C: area QoE, andes / andes-paper"]
    assert verdicts["C: tokens/s, andes / fcfs"]
    slow = [
        make.row(r.regime, r.load, r.contender, qoe=0.8, tokens_per_s=900.0)
        if r.contender == ANDES
        else r
        for r in rows
    ]
    text = page(make.result(slow))
    assert line(text, "A: tokens/s, andes / fcfs")[1:] == [
        "≥ 0.96×",
        "0.900×",
        "**missed**",
    ]
    assert line(text, "A: area QoE, andes / fcfs")[1:] == ["≥ 2.00×", "2.667×", "reached"]


def test_cells_that_lose_are_listed_with_both_numbers(make) -> None:
    rows = make.rows("C", seeds=1)
    assert lost_means(Grid(rows), ["C"]) == []
    assert lost_tails(Grid(rows), ["C"]) == []
    rows = replaced(rows, make.row("C", CENTRE, ANDES, qoe=0.4))
    rows = replaced(rows, make.row("C", POISSON, ANDES, p5_qoe_area=0.1))
    assert [str(loss) for loss in lost_means(Grid(rows), ["C"])] == [
        "C, 2×, 35%: mean area QoE of andes 0.400, andes-paper 0.500"
    ]
    assert [str(loss) for loss in lost_tails(Grid(rows), ["C"])] == [
        "C, Poisson: p5 area QoE of andes 0.100, fcfs 0.150"
    ]
    text = page(make.result(rows))
    assert "- C, 2×, 35%: mean area QoE of andes 0.400, andes-paper 0.500" in text
    assert line(text, "cells below fcfs or andes-paper in mean area QoE")[2:] == [
        "1",
        "**missed**",
    ]


def test_the_longest_stall_of_any_seed_counts(make) -> None:
    rows = make.rows("C", seeds=2)
    row = make.row("C", CENTRE, ANDES, seed=1, qoe=0.82)
    stall_s = msgspec.structs.replace(row.metrics.stall_s, max=7.5)
    metrics = msgspec.structs.replace(row.metrics, stall_s=stall_s)
    rows = replaced(rows, msgspec.structs.replace(row, metrics=metrics))
    assert [str(loss) for loss in lost_tails(Grid(rows), ["C"])] == [
        "C, 2×, 35%: longest stall in s of andes 7.500, fcfs 3.333"
    ]
    price, _ = page(make.result(rows)).split("## Targets")
    assert line(price, "C andes")[7] == "7.50"


def test_seeds_are_compared_only_where_both_ran(make) -> None:
    rows = [r for r in make.rows("C", seeds=2) if (r.contender, r.seed) != (FCFS, 0)]
    ratio = Grid(rows).ratio("C", (ANDES, FCFS), lambda s: s.mean_qoe_area)
    assert ratio == pytest.approx(0.82 / 0.32)


def test_capacity_and_ablations_are_told(make) -> None:
    rows = [
        make.row(
            "C", load, contender, qoe=1.0 if contender == ANDES else 1.45 - load.rate_share
        )
        for load in BY_RATE
        for contender in CURVE_CONTENDERS
    ]
    lever = ABLATIONS["C"][-1]
    rows += [make.row("C", CENTRE, ANDES, qoe=0.8), make.row("C", CENTRE, lever, qoe=0.4)]
    text = page(make.result(rows))
    assert line(text, "mean rate, Poisson, QoE ≥ 0.9")[1:] == [
        "0.55",
        "0.55",
        "≥ 1.50",
        "0.55",
        "≥ 2.73×",
    ]
    assert line(text, "C andes horizon_s=20")[1:3] == ["0.400", "0.500×"]


def test_a_failed_run_is_on_the_page_and_loses_no_other(make) -> None:
    rows = make.rows("C")
    failed = {"C, Poisson, andes, 0": "RuntimeError: stuck"}
    result = make.result(rows, failed=failed, planned=len(rows) + 1)
    text = page(result)
    assert f"**1 of {len(rows) + 1} runs are missing.**" in text
    assert "- C, Poisson, andes, 0: RuntimeError: stuck" in text


def test_the_numbers_come_back_as_they_were_written(make, tmp_path) -> None:
    result = make.result(make.rows("A", "C"))
    path = tmp_path / "grid.json"
    write_grid(path, result)
    assert page(read_grid(path)) == page(result)
    assert len(path.read_text().splitlines()) < len(result.rows) + 100
    path.write_text("{}")
    with pytest.raises(UserError, match="not a result of andes grid"):
        read_grid(path)


def test_the_summary_is_short_and_fills_the_readme(make, tmp_path) -> None:
    text = summary(make.result(make.rows("A", "B", "C")))
    assert len(text.splitlines()) <= 12
    assert line(text, "KV-scarce: phi-3-mini/a100-sxm4-40gb/tp1")[1:] == [
        "0.310", "0.510", "0.810", "0.810", "0.155 → 0.405", "1.000×",
        "29.06 → 11.11", "3.33 → 1.25",
    ]  # fmt: skip
    readme = tmp_path / "README.md"
    assert not fill_readme(readme, text)
    readme.write_text("above\n<!-- grid -->\nold\n<!-- /grid -->\nbelow\n")
    assert fill_readme(readme, text)
    assert fill_readme(readme, text)
    filled = readme.read_text()
    assert filled.startswith("above\n<!-- grid -->\n" + text)
    assert filled.endswith("<!-- /grid -->\nbelow\n")
    assert "old" not in filled
    readme.write_text("no markers\n")
    assert not fill_readme(readme, text)


def test_the_readme_shows_the_summary_that_the_grid_wrote() -> None:
    shown = re.search(
        r"<!-- grid -->\n(.*?)<!-- /grid -->", (ROOT / "README.md").read_text(), re.S
    )[1]
    written = ROOT / "docs/results/grid-summary.md"
    if not written.exists():
        pytest.skip("the grid has not been run")
    assert written.read_text().strip() in shown
