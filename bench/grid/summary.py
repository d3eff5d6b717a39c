"""The few lines of a grid that the README shows."""

from __future__ import annotations

import re
from pathlib import Path

from bench.grid.cells import ANDES, ANDES_OFFLOAD, FCFS, PAPER, Contender
from bench.grid.results import Grid, GridResult, Metric, largest
from bench.markdown import number, pipe_table

_BLOCK = re.compile(r"(?<=<!-- grid -->\n).*?(?=<!-- /grid -->)", re.DOTALL)
_FIGURE = (
    "![Mean QoE against burst intensity and burst share](docs/results/grid-sweeps.png)\n\n"
    "All cells, what looks bad, capacity and ablations: "
    "[docs/results/grid.md](docs/results/grid.md)."
)
_HEAD = (
    "mean QoE",
    "fcfs",
    "andes-paper",
    "andes",
    "andes, offload",
    "p5",
    "tokens/s",
    "TTFT p99, s",
    "stall max, s",
)


def summary(result: GridResult) -> str:
    """One row a regime, good and bad side by side."""
    grid = Grid(result.rows)
    rows = [
        [f"{facts.title}: {facts.profile}", *_numbers(grid, name)]
        for name, facts in result.regimes.items()
    ]
    said = (
        "Area QoE over the paper's burst sweeps, in virtual time on the cost of real GPUs; "
        "`a → b` is from `fcfs` to `andes`, and tokens/s is `andes` over `fcfs`."
    )
    return (
        "\n\n".join(
            [said, pipe_table(_HEAD, rows), result.environment.made_by(result.command)]
        )
        + "\n"
    )


def _numbers(grid: Grid, regime: str) -> list[str]:
    def qoe(contender: Contender) -> str:
        return number(grid.over_sweep(regime, contender, lambda s: s.mean_qoe_area))

    def change(metric: Metric, digits: int, *, longest: bool = False) -> str:
        reduce = largest if longest else None
        both = (grid.over_sweep(regime, c, metric, reduce) for c in (FCFS, ANDES))
        return " → ".join(number(value, digits) for value in both)

    return [
        *map(qoe, (FCFS, PAPER, ANDES, ANDES_OFFLOAD)),
        change(lambda s: s.p5_qoe_area, 3),
        number(grid.ratio(regime, (ANDES, FCFS), lambda s: s.tokens_per_s), 3, "×"),
        change(lambda s: s.ttft_s.p99, 2),
        change(lambda s: s.stall_s.max, 2, longest=True),
    ]


def fill_readme(readme: Path, text: str) -> bool:
    """Put a summary between the grid's markers; False where there are none."""
    if not readme.exists():
        return False
    page = readme.read_text(encoding="utf-8")
    # A function, because a backslash in the text would mean something to `re`.
    filled, count = _BLOCK.subn(lambda _: f"{text}\n{_FIGURE}\n", page)
    if count:
        readme.write_text(filled, encoding="utf-8")
    return count > 0
