"""Sections of the page of the policy: targets, losses, parts, the curve, who waits."""

from __future__ import annotations

from collections.abc import Sequence

from bench.markdown import number, pipe_table
from evidence.ablations import CURVE
from evidence.policy.findings import losses, worth
from evidence.policy.jobs import ANDES, FCFS, MODES, PAPER, Load, ablated, on_curve
from evidence.policy.results import Evidence
from evidence.policy.table import AREA, DELAY, NEVER_LATE, P5, SHARE, TOKENS, Table, mean
from evidence.policy.targets import targets

_ABLATED = (AREA, SHARE, P5, TOKENS)


def target_table(table: Table, families: Sequence[str]) -> str:
    """Every target, and whether it is reached."""
    found = targets(table, families)
    rows = [
        (t.what, t.wanted, t.measured, "reached" if t.is_reached else "**missed**")
        for t in found
    ]
    reached = sum(t.is_reached for t in found)
    said = f"{reached} of {len(found)} are reached, on the validation families."
    head = ("what, against whom", "wanted", "measured", "")
    return (
        "\n\n".join(["## Targets", said, pipe_table(head, rows, texts=4)]) if rows else ""
    )


def loss_table(table: Table, loads: Sequence[Load]) -> str:
    """Every number in which Andes is behind."""
    found = losses(table, loads)
    rows = []
    for loss in found:
        column, load = loss.column, loss.load
        ours = NEVER_LATE.mean(table, load, ANDES[loss.mode])
        rows.append(
            (
                f"{load.family} {load.shape}",
                loss.mode,
                column.title,
                number(loss.ours, column.digits),
                f"{number(loss.theirs, column.digits)} {loss.who}",
                number(loss.gain, column.digits),
                f"{number(ours)} of {bound_of(table, load)}",
            )
        )
    said = (
        f"Every number in which Andes is behind the best baseline of its load: {len(rows)}."
        " "
        "The last column is Andes's share never late, and the bound there."
    )
    head = ("load", "resume", "what", "andes", "best baseline", "by", "never late, bound")
    shown = [pipe_table(head, rows, texts=3)] if rows else []
    return "\n\n".join(["## Losses", said, *shown])


def ablation_table(table: Table, loads: Sequence[Load]) -> str:
    """What each part is worth; empty where none was taken out."""
    rows = []
    for title, contenders in ablated().items():
        for mode, contender in contenders.items():
            found = [worth(table, loads, mode, contender, c) for c in _ABLATED]
            each = [worth(table, [load], mode, contender, AREA) for load in loads]
            if any(found):
                shown = [
                    bold(str(w), w.shows) if w is not None else "–" for w in (*found, *each)
                ]
                rows.append([title, mode, *shown])
    if not rows:
        return ""
    said = (
        "What Andes has more with a part than without it: the mean over the validation "
        "families of differences paired by seed, ± its standard error over the seeds; bold "
        "is more than twice that. The last columns are mean area by family."
    )
    head = (
        *("part", "resume"),
        *(column.title for column in _ABLATED),
        *(load.family for load in loads),
    )
    return "\n\n".join(
        ["## What each part is worth", said, pipe_table(head, rows, texts=2)]
    )


def curve_table(table: Table, loads: Sequence[Load]) -> str:
    """What the one setting moves; empty where there is none."""
    columns = (TOKENS, AREA, SHARE, P5, DELAY)
    rows = [
        [
            value,
            *(number(column.over(table, loads, c), column.digits) for column in columns),
        ]
        for value, c in on_curve().items()
        if AREA.over(table, loads, c) is not None
    ]
    if not rows:
        return ""
    said = "Mean over the validation families, bursts of 2×, recompute."
    head = (CURVE.setting, *(column.title for column in columns))
    return "\n\n".join([f"## The curve of `{CURVE.setting}`", said, pipe_table(head, rows)])


def wait_table(table: Table, loads: Sequence[Load]) -> str:
    """Whose first token takes long, by the length of the prompt."""
    rows = []
    for load in loads:
        for mode in MODES:
            for contender in (
                *([FCFS] if mode == "recompute" else []),
                PAPER[mode],
                ANDES[mode],
            ):
                runs = table.runs(load, contender).values()
                if runs:
                    quarters = zip(*(run.long_waits for run in runs), strict=True)
                    shares = (number(mean(quarter)) for quarter in quarters)
                    rows.append([load.family, mode, contender.name, *shares])
    if not rows:
        return ""
    said = (
        "Under overload somebody waits. The share of streams whose first token took more "
        "than 10 s, by quarter of the prompts' lengths:"
    )
    head = ("family", "resume", "", "shortest", "second", "third", "longest")
    return "\n\n".join(["## Who waits", said, pipe_table(head, rows, texts=3)])


def failures(result: Evidence, table: Table) -> list[str]:
    """Jobs that failed, and runs in which plans did."""
    left = [
        f"{run.job.contender.name} on {run.job.load.family} {run.job.load.shape}, seed "
        f"{run.job.seed}: {run.plan_failures} plans failed and were left to vLLM."
        for run in table.all_runs()
        if run.plan_failures
    ]
    return [*result.failed.values(), *left]


def listed(title: str, lines: Sequence[str]) -> str:
    """A section of lines; empty without any."""
    return "\n\n".join(
        [f"## {title}", "\n".join(f"- {line}" for line in lines)] if lines else []
    )


def bold(text: str, is_best: bool) -> str:
    """In bold, where it is the best."""
    return f"**{text}**" if is_best else text


def bound_of(table: Table, load: Load) -> str:
    """The mean of the bounds of a load, as text."""
    return number(mean(table.bounds(load).values()))
