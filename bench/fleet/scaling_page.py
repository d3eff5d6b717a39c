"""Autoscalers of one load side by side: a page, and the curve of what QoE costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.figure import STYLE, colours
from bench.fleet.results import FleetSummary, ScaleEvent, ScalingSummary
from bench.load import BurstShape
from bench.markdown import number, pipe_table
from bench.replay.results import Run
from bench.results import Environment
from bench.scores import percentile

# After a step down, readers who come within this are those it may have hurt.
AFTER_DOWN_S = 30.0
_HEAD = (
    "autoscaler",
    "GPU-seconds",
    "mean",
    "p5",
    "share ≥ 0.95",
    "most replicas",
    "up after onset, s",
    "QoE after a step down",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One autoscaler in numbers.

    Attributes:
        p5: 5th percentile of the area QoE.
        most: Replicas that held GPUs at once.
        up_after_s: From the onset of the first burst to the first step up; None without.
        after_down: Mean area QoE of the streams that came within `AFTER_DOWN_S` of a step
            down, after the worst of them; None without.
    """

    name: str
    gpu_seconds: float
    mean: float
    p5: float
    share: float
    most: int
    up_after_s: float | None
    after_down: float | None


def rows_of(runs: Sequence[Run], bursts: BurstShape | None) -> list[Row]:
    """Of every run with an autoscaler, in their order."""
    return [
        _row(run, run.summary, run.summary.scaling, bursts)
        for run in runs
        if isinstance(run.summary, FleetSummary) and run.summary.scaling is not None
    ]


def page(rows: Sequence[Row], made_by: Environment, command: str, curve: str) -> str:
    """The page in markdown; `curve` is the picture beside it."""
    table = pipe_table(
        _HEAD,
        [
            (
                f"`{row.name}`",
                number(row.gpu_seconds, 0),
                number(row.mean),
                number(row.p5),
                f"{row.share:.1%}",
                str(row.most),
                number(row.up_after_s, 1),
                number(row.after_down),
            )
            for row in rows
        ],
    )
    return (
        "\n\n".join(
            [
                "# What QoE costs under each autoscaler",
                f"{made_by.made_by(command)} One load, one seed, in "
                "virtual time. GPU-seconds count from the order of a replica to its end, "
                "starting and finishing included. QoE after a step down is the mean of the "
                f"streams that came within {AFTER_DOWN_S:.0f} s of it, for the worst step. "
                "Serve's own policy is given its ongoing requests without the delay of its "
                "metrics.",
                table,
                f"![p5 QoE against GPU-seconds]({curve})",
                *cheaper(rows),
            ]
        )
        + "\n"
    )


def cheaper(rows: Sequence[Row]) -> list[str]:
    """How each `qoe` compares with the cheapest `ongoing` that is at least as good."""
    said = []
    for row in rows:
        if not row.name.startswith("qoe"):
            continue
        rivals = [r for r in rows if r.name.startswith("ongoing") and r.p5 >= row.p5]
        if not rivals:
            said.append(f"- `{row.name}`: no `ongoing` here reaches its p5.")
            continue
        rival = min(rivals, key=lambda r: r.gpu_seconds)
        saved = 1.0 - row.gpu_seconds / rival.gpu_seconds
        said.append(
            f"- `{row.name}` takes {abs(saved):.0%} {'fewer' if saved >= 0 else 'more'} "
            f"GPU-seconds than `{rival.name}`, the cheapest here with at least its p5."
        )
    return ["\n".join(said)] if said else []


def plot_curve(rows: Sequence[Row], path: Path) -> None:
    """Draw p5 and mean QoE against GPU-seconds, one point for each autoscaler."""
    kinds = list(dict.fromkeys(row.name.partition(",")[0] for row in rows))
    colour_of = colours(kinds)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 4.8))
        for axes, metric in zip(figure.subplots(1, 2), ("p5", "mean"), strict=True):
            for kind in kinds:
                mine = [row for row in rows if row.name.partition(",")[0] == kind]
                points = [(row.gpu_seconds, getattr(row, metric)) for row in mine]
                axes.scatter(*zip(*points, strict=True), color=colour_of[kind], label=kind)
            axes.set(ylim=(0, 1.04), xlabel="GPU-seconds", ylabel=f"{metric} area QoE")
        figure.axes[0].legend(loc="lower right")
        figure.savefig(path, dpi=150)


def _row(
    run: Run, summary: FleetSummary, scaling: ScalingSummary, bursts: BurstShape | None
) -> Row:
    return Row(
        name=run.scaling or scaling.policy,
        gpu_seconds=summary.gpu_seconds,
        mean=summary.mean_qoe_area,
        p5=percentile(run.scores.area, 5),
        share=summary.share_qoe_area_ge_0_95,
        most=max(s.starting + s.serving + s.leaving for s in scaling.steps),
        up_after_s=_up_after_s(scaling.events, bursts),
        after_down=_after_down(run, scaling.events),
    )


def _up_after_s(events: Sequence[ScaleEvent], bursts: BurstShape | None) -> float | None:
    if bursts is None or bursts.intensity <= 1:
        return None
    onset_s = bursts.cycle_s * (1 - bursts.burst_share) / 2
    ups_s = [e.at_s for e in events if e.after > e.before and e.at_s >= onset_s]
    return ups_s[0] - onset_s if ups_s else None


def _after_down(run: Run, events: Sequence[ScaleEvent]) -> float | None:
    arrival_s, area = run.scores.arrival_s, run.scores.area
    means = [
        float(came.mean())
        for event in events
        if event.after < event.before
        and (
            came := area[
                (arrival_s >= event.at_s) & (arrival_s < event.at_s + AFTER_DOWN_S)
            ]
        ).size
    ]
    return min(means, default=None)
