"""How a plan is told to a person: a table, what it saves, and what to beware of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.table import Table

from bench.markdown import pipe_table
from bench.plan.results import Outcome, PlanResult, Probe
from bench.plan.targets import WORDS, Target

ASSUMPTION = (
    "The search takes for granted that more replicas never serve readers worse: it is a "
    "bisection, and tries few of the numbers in between."
)


def outcome_table(result: PlanResult) -> Table:
    """One row for each contender: what it needs, and what its readers get then."""
    title = f"fewest replicas for {_asked(result.targets)}"
    table = Table(title=title, title_justify="left", title_style="bold")
    head, rows = _rows(result)
    for position, name in enumerate(head):
        table.add_column(name, justify="right" if position else "left")
    for row in rows:
        table.add_row(*row)
    return table


def saving(result: PlanResult) -> list[str]:
    """The GPU-hours between the first contender and each of the others."""
    first, *others = result.outcomes
    said = []
    for other in others:
        if first.gpu_hours is None or other.gpu_hours is None:
            continue
        gap = first.gpu_hours - other.gpu_hours
        share = gap / first.gpu_hours
        said.append(
            f"{other.contender.label} needs {abs(gap):,.2f} GPU-hours "
            f"{'fewer' if gap >= 0 else 'more'} than {first.contender.label} for the "
            f"{result.hours:.2f} hours of this load ({abs(share):.0%})."
        )
    return said


def caveats(result: PlanResult, max_replicas: int) -> list[str]:
    """What a person must know before believing the plan, one sentence each."""
    return [
        *_unreached(result, max_replicas),
        *_dips(result),
        *(
            f"{o.contender.label}: {o.chosen.failed:,} requests were refused or cut off; "
            "they count with what they got."
            for o in result.outcomes
            if o.chosen is not None and o.chosen.failed
        ),
    ]


def page(result: PlanResult, max_replicas: int, picture: str | None) -> str:
    """The plan as a page of markdown; `picture` is a file beside it."""
    head, rows = _rows(result)
    tried = [
        (o.contender.label, str(p.replicas), *_values(p, result.targets), _ok(p, result))
        for o in result.outcomes
        for p in o.probes
    ]
    names = [target.metric for target in result.targets]
    parts = [
        "# How many replicas a load takes",
        f"{result.environment.made_by(result.command)} The load is "
        f"{result.requests:,} requests in {60 * result.hours:.1f} minutes, on "
        f"`{result.arguments['profile']}`, {result.gpus_per_replica} GPU"
        f"{'s' if result.gpus_per_replica > 1 else ''} a replica. Asked for: "
        f"{_asked(result.targets)}.",
        pipe_table(head, rows),
        " ".join(saving(result)),
        *([f"![QoE against replicas]({picture})"] if picture else []),
        "## Every fleet that was tried",
        pipe_table(("contender", "replicas", *names, "does"), tried),
        " ".join([ASSUMPTION, *caveats(result, max_replicas)]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(result: PlanResult) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    names = [target.metric for target in result.targets]
    head = ("contender", "replicas", "GPUs", "GPU-hours", *names)
    return head, [_row(outcome, result.targets) for outcome in result.outcomes]


def _row(outcome: Outcome, targets: Sequence[Target]) -> tuple[str, ...]:
    chosen = outcome.chosen
    if chosen is None or outcome.gpu_hours is None:
        best = (f"at most {t.value(outcome.best(t).quality):.3f}" for t in targets)
        return (outcome.contender.label, "out of reach", "–", "–", *best)
    return (
        outcome.contender.label,
        f"{outcome.replicas:,}",
        f"{outcome.gpus:,}",
        f"{outcome.gpu_hours:,.2f}",
        *_values(chosen, targets),
    )


def _values(probe: Probe, targets: Sequence[Target]) -> tuple[str, ...]:
    return tuple(f"{target.value(probe.quality):.3f}" for target in targets)


def _ok(probe: Probe, result: PlanResult) -> str:
    return "yes" if all(t.is_met(probe.quality) for t in result.targets) else "no"


def _asked(targets: Sequence[Target]) -> str:
    return " and ".join(f"{WORDS[t.metric]} ≥ {t.at_least:g}" for t in targets)


def _unreached(result: PlanResult, max_replicas: int) -> list[str]:
    said = []
    for outcome in result.outcomes:
        if outcome.replicas is not None:
            continue
        best = ", ".join(
            f"{t.metric} {t.value(p.quality):.3f} with {p.replicas} (asked: {t.at_least:g})"
            for t in result.targets
            for p in [outcome.best(t)]
        )
        said.append(
            f"{outcome.contender.label} does not reach the target with at most "
            f"{max_replicas} replicas; the best it reached is {best}. Raise --max-replicas "
            "or lower the target."
        )
    return said


def _dips(result: PlanResult) -> list[str]:
    return [
        f"{outcome.contender.label}: {target.metric} fell from "
        f"{target.value(few.quality):.3f} with {few.replicas} replicas to "
        f"{target.value(more.quality):.3f} with {more.replicas}, against what the search "
        "takes for granted: the fewest may be fewer."
        for outcome in result.outcomes
        for target in result.targets
        if not outcome.is_monotone(target)
        for few, more in pairwise(outcome.probes)
        if target.value(more.quality) < target.value(few.quality)
    ]
