"""The parts of the page that judge: targets, losses, capacity, ablations, failures."""

from __future__ import annotations

from collections.abc import Sequence

from bench.grid.capacity import CURVES, THRESHOLDS, capacity, curve_grid, points_of
from bench.grid.cells import (
    ABLATION_SEEDS,
    ABLATIONS,
    ANDES,
    CENTRE,
    CURVE_CONTENDERS,
    CURVE_REGIME,
    FCFS,
    PAPER,
    Contender,
)
from bench.grid.results import Grid, GridResult
from bench.grid.targets import Loss, lost_means, lost_tails, targets
from bench.markdown import number, pipe_table


def verdicts(grid: Grid, regimes: Sequence[str]) -> str:
    """Every target, what was measured, and whether that reaches it."""
    rows = [
        (
            target.what,
            f"≥ {target.least:.2f}×",
            f"{target.measured:.3f}×",
            "reached" if target.is_reached else "**missed**",
        )
        for target in targets(grid, regimes)
    ]
    counts = (
        ("cells below fcfs or andes-paper in mean area QoE", lost_means(grid, regimes)),
        ("cells with a worse p5 or longest stall than fcfs", lost_tails(grid, regimes)),
    )
    rows += [
        (what, "0", f"{len(lost)}", "**missed**" if lost else "reached")
        for what, lost in counts
    ]
    head = ("over the sweep", "target", "measured", "")
    return "## Targets\n\n" + pipe_table(head, rows)


def losses(grid: Grid, regimes: Sequence[str]) -> str:
    """Every cell where Andes is worse than another."""

    def listed(title: str, lost: Sequence[Loss]) -> str:
        return "\n".join([f"### {title}", "", *([f"- {x}" for x in lost] or ["None."])])

    return "\n\n".join(
        [
            "## Where Andes loses",
            listed("Mean below fcfs or andes-paper", lost_means(grid, regimes)),
            listed("p5 or longest stall worse than fcfs", lost_tails(grid, regimes)),
        ]
    )


def capacities(result: GridResult) -> str:
    """The most load of each kind that keeps mean readers above the thresholds."""
    grid = curve_grid(result.rows)
    rows = []
    for curve in CURVES:
        points = {c: points_of(grid, curve, c) for c in CURVE_CONTENDERS}
        if not all(points.values()):
            continue
        for threshold in THRESHOLDS:
            most = {c: capacity(points[c], threshold) for c in CURVE_CONTENDERS}
            name = f"{curve.title}, QoE ≥ {threshold:g}"
            rows.append([name, *map(str, most.values()), most[ANDES].over(most[FCFS])])
    if not rows:
        return ""
    said = (
        f"In {CURVE_REGIME}, the rate in parts of what `fcfs` serves, on a straight line "
        "between the last load that holds and the first that does not; one seed. none: not "
        "even the least load holds; ≥: the most load tried still does."
    )
    head = ("the most load", *(c.name for c in CURVE_CONTENDERS), "andes / fcfs")
    return "\n\n".join(["## Capacity", said, pipe_table(head, rows)])


def ablations(result: GridResult) -> str:
    """Other policies, and settings that switch one part of a policy off, at the centre."""
    grid = Grid(row for row in result.rows if row.seed < ABLATION_SEEDS)
    rows = [
        _ablation(grid, name, contender)
        for name in result.regimes
        for contender in (FCFS, PAPER, ANDES, *ABLATIONS.get(name, ()))
        if name in ABLATIONS
    ]
    if not rows:
        return ""
    head = (
        f"at {CENTRE.name}",
        "mean QoE",
        "/ as it is",
        "p5 QoE",
        "TTFT p99, s",
        "stall max, s",
        "tokens/s / fcfs",
        "preemptions/request",
        "plan p99, ms",
    )
    said = (
        "Other policies, and one setting changed at a time, all on the same seeds. *As it "
        "is* is the same policy with its defaults."
    )
    return "\n\n".join(["## Parts", said, pipe_table(head, rows)])


def _ablation(grid: Grid, regime: str, contender: Contender) -> list[str]:
    as_it_is = Contender(contender.scheduler)
    change = (
        grid.ratio(regime, (contender, as_it_is), lambda s: s.mean_qoe_area, [CENTRE])
        if contender.settings
        else None
    )
    tokens = grid.ratio(regime, (contender, FCFS), lambda s: s.tokens_per_s, [CENTRE])
    stalls_s = grid.values(regime, CENTRE, contender, lambda s: s.stall_s.max)
    return [
        f"{regime} {contender.name}",
        number(grid.mean(regime, CENTRE, contender, lambda s: s.mean_qoe_area)),
        number(change, 3, "×"),
        number(grid.mean(regime, CENTRE, contender, lambda s: s.p5_qoe_area)),
        number(grid.mean(regime, CENTRE, contender, lambda s: s.ttft_s.p99), 2),
        number(max(stalls_s, default=None), 2),
        number(tokens, 3, "×"),
        number(
            grid.mean(regime, CENTRE, contender, lambda s: s.preemptions_per_request), 2
        ),
        number(grid.mean(regime, CENTRE, contender, lambda s: s.plan_ms.p99), 2),
    ]


def failures(result: GridResult) -> str:
    """Runs that failed, and steps that a scheduler left to vLLM because it failed."""
    failed = [f"- {name}: {reason}" for name, reason in result.failed.items()]
    failed += [
        f"- {row.regime}, {row.cell}, {row.contender.name}, seed {row.seed}: "
        f"{row.plan_failures:,} steps were plain vLLM, because the scheduler failed."
        for row in result.rows
        if row.plan_failures
    ]
    return "\n".join(["## What failed", "", *failed]) if failed else ""
