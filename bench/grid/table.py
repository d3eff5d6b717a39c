"""The page of a grid: what it was, what Andes gains, what it costs, where it loses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.grid.cells import ANDES_OFFLOAD, CELLS, CENTRE, CONTENDERS, FCFS, Contender, Load
from bench.grid.results import Grid, GridResult, Metric, largest
from bench.grid.verdicts import ablations, capacities, failures, losses, verdicts
from bench.markdown import number, pipe_table


def page(result: GridResult) -> str:
    """The whole page."""
    grid, regimes = Grid(result.rows), list(result.regimes)
    sections = [
        _header(result),
        _means(grid, regimes),
        _costs(grid, regimes),
        verdicts(grid, regimes),
        losses(grid, regimes),
        capacities(result),
        ablations(result),
        failures(result),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(result: GridResult) -> str:
    cycle_s = float(str(result.arguments["cycle_s"]))
    said = [
        f"{result.environment.made_by(result.command)} "
        f"{len(result.rows):,} runs of real schedulers in virtual time, "
        f"one cycle of {cycle_s:g} s each with one burst in its middle."
    ]
    if cycle_s < 1200:
        said.append("The paper's cycles are 1200 s: its queues have longer to grow.")
    if len(result.rows) < result.planned:
        said.append(
            f"**{result.planned - len(result.rows):,} of {result.planned:,} runs are "
            "missing.**"
        )
    facts = [
        (
            f"{name}, {regime.title}",
            regime.profile,
            regime.lengths or "lognormal: the file was not there",
            f"{regime.ttft_s} s" if regime.ttft_s != "input/5000" else "input/5000 s",
            f"{regime.rate:.2f}",
            _seeds(result, name),
        )
        for name, regime in result.regimes.items()
    ]
    head = ("regime", "engine", "lengths", "TTFT expected", "requests/s", "seeds")
    return "\n\n".join(
        [
            "# What Andes gains and costs, replayed",
            " ".join(said),
            pipe_table(head, facts, texts=4),
            "requests/s is the mean rate, and what `fcfs` serves without bursts when "
            "requests never run out: a burst asks for more than the engine has. Readers "
            "are of profile reading. All means over the sweep are over the five cells with "
            "bursts.",
        ]
    )


def _seeds(result: GridResult, regime: str) -> str:
    counts = [
        len(
            {
                row.seed
                for row in result.rows
                if (row.regime, row.load, row.contender) == (regime, CENTRE, contender)
            }
        )
        for contender in (FCFS, ANDES_OFFLOAD)
    ]
    return f"{counts[0]}" + (
        f"; offload {counts[1]}" if counts[1] not in (0, counts[0]) else ""
    )


def _means(grid: Grid, regimes: Sequence[str]) -> str:
    rows = [
        [f"{name} {load.name}", *_marked(grid, name, load)]
        for name in regimes
        for load in CELLS
    ]
    head = ("mean area QoE", *(contender.name for contender in CONTENDERS))
    said = ["Mean ± standard deviation over the seeds; the best is bold."]
    if "B" in regimes:
        said.append(
            "In B the engine runs out of seats and compute before memory, so only "
            "recomputing was run."
        )
    return "\n\n".join(["## Readers", " ".join(said), pipe_table(head, rows)])


def _marked(grid: Grid, regime: str, load: Load) -> list[str]:
    values = {
        contender: grid.values(regime, load, contender, lambda s: s.mean_qoe_area)
        for contender in CONTENDERS
    }
    means = {c: f"{np.mean(v):.3f}" for c, v in values.items() if v}
    best = max(means.values(), default="")
    cells = []
    for contender, found in values.items():
        text = means.get(contender, "–")
        if text == best:
            text = f"**{text}**"
        cells.append(text + (f" ± {np.std(found, ddof=1):.3f}" if len(found) > 1 else ""))
    return cells


_COSTS: tuple[tuple[str, Metric, int], ...] = (
    ("delay QoE", lambda s: s.mean_qoe_delay, 3),
    ("p5 QoE", lambda s: s.p5_qoe_area, 3),
    ("share ≥ 0.95", lambda s: s.share_qoe_area_ge_0_95, 3),
    ("TTFT mean, s", lambda s: s.ttft_s.mean, 2),
    ("TTFT p99, s", lambda s: s.ttft_s.p99, 2),
    ("stall p99, s", lambda s: s.stall_s.p99, 2),
)
_ENGINE: tuple[tuple[str, Metric, int], ...] = (
    ("preemptions/request", lambda s: s.preemptions_per_request, 2),
    ("plan p50, ms", lambda s: s.plan_ms.p50, 2),
    ("plan p99, ms", lambda s: s.plan_ms.p99, 2),
)


def _costs(grid: Grid, regimes: Sequence[str]) -> str:
    head = (
        "over the sweep",
        *(title for title, _, _ in _COSTS),
        "stall max, s",
        "tokens/s / fcfs",
        *(title for title, _, _ in _ENGINE),
    )
    rows = [
        [f"{name} {contender.name}", *_costs_of(grid, name, contender)]
        for name in regimes
        for contender in CONTENDERS
        if grid.over_sweep(name, contender, lambda s: s.p5_qoe_area) is not None
    ]
    said = (
        "Means over the cells, except the longest stall, which is the longest of all. "
        "Plans were timed while other runs shared the machine."
    )
    return "\n\n".join(["## The price", said, pipe_table(head, rows)])


def _costs_of(grid: Grid, regime: str, contender: Contender) -> list[str]:
    def shown(metrics: Sequence[tuple[str, Metric, int]]) -> list[str]:
        return [
            number(grid.over_sweep(regime, contender, metric), digits)
            for _, metric, digits in metrics
        ]

    stall_s = grid.over_sweep(regime, contender, lambda s: s.stall_s.max, largest)
    tokens = grid.ratio(regime, (contender, FCFS), lambda s: s.tokens_per_s)
    return [*shown(_COSTS), number(stall_s, 2), number(tokens, 3, "×"), *shown(_ENGINE)]
