"""What was meant to be reached, and whether the runs reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from evidence.families import FAMILIES
from evidence.policy.jobs import (
    ANDES,
    BURST,
    FCFS,
    LIGHT_SHAPES,
    MODES,
    PAPER,
    Load,
    on_curve,
)
from evidence.policy.table import (
    AREA,
    DELAY,
    OF_BOUND,
    P5,
    SHARE,
    STALL_P99,
    TOKENS,
    TTFT_P99,
    AgainstBaseline,
    Column,
    Table,
    against,
    best_baseline,
)

# Over the best of all baselines, on average; and tokens/s of fcfs; and of the bound.
_MIN_GAIN = {"recompute": 0.03, "offload": 0.01}
_MIN_TOKENS = {"recompute": 0.90, "offload": 0.97}
_MIN_OF_BOUND = {"recompute": 0.88, "offload": 0.95}
_MIN_OF_BOUND_PREFILL = {"recompute": 0.92, "offload": 0.95}
# Times the paper's: of p99 of stalls, and of TTFT.
_MAX_STALL = {"recompute": 1.0, "offload": 0.2}
_MAX_TTFT = {"recompute": 1.0, "offload": 2.0}
_MAX_LIGHT_LOSS = 0.002
_CURVE = (0.86, 0.99)


class Target(NamedTuple):
    """What is wanted of one number, and what was measured."""

    what: str
    wanted: str
    measured: str
    is_reached: bool


def targets(table: Table, families: Sequence[str]) -> list[Target]:
    """Every target that the runs of these families can tell of."""
    loads = [Load(family, BURST) for family in families]
    return [
        *(t for mode in MODES for t in _of_mode(table, loads, mode)),
        *_light(table, families),
        *_short_chat(table, families),
        *_curve(table, loads),
    ]


def _of_mode(table: Table, loads: Sequence[Load], mode: str) -> Iterator[Target]:
    for column in (AREA, DELAY, SHARE):
        yield from _ahead(table, loads, mode, column)
    paper = _standings(loads, lambda load: against(table, load, mode, P5, PAPER[mode]))
    if paper:
        held = sum(s.gain >= -P5.same for s in paper)
        most = len(paper) if mode == "offload" else max(1, len(paper) - 1)
        yield Target(
            f"{mode}: p5 area, andes-paper",
            f"≥ on {most} of {len(paper)} loads",
            f"≥ on {held}; {_worst(paper)}",
            held >= most,
        )
    for column, most_times in ((STALL_P99, _MAX_STALL), (TTFT_P99, _MAX_TTFT)):
        yield from _no_longer(table, loads, mode, column, most_times[mode])
    yield from _at_least(table, loads, mode, TOKENS, _MIN_TOKENS[mode])
    bounds = {True: _MIN_OF_BOUND_PREFILL, False: _MIN_OF_BOUND}
    for is_prefill, least in bounds.items():
        kind = [load for load in loads if is_prefill_bound(load.family) == is_prefill]
        title = "prefill-bound, " if is_prefill else ""
        yield from _at_least(table, kind, mode, OF_BOUND, least[mode], title)


def is_prefill_bound(family: str) -> bool:
    """Whether prompts are what the engine runs out of time for: 70B here."""
    return "70b" in FAMILIES[family].profile


def _ahead(
    table: Table, loads: Sequence[Load], mode: str, column: Column
) -> Iterator[Target]:
    found = _standings(loads, lambda load: best_baseline(table, load, mode, column))
    if found:
        average = float(np.mean([s.gain for s in found]))
        yield Target(
            f"{mode}: {column.title}, best of all baselines",
            f"≥ on every load, +{_MIN_GAIN[mode]:g} on average",
            f"{_worst(found)}; average {average:+.3f}",
            all(s.gain >= -column.same for s in found) and average >= _MIN_GAIN[mode],
        )


def _no_longer(
    table: Table, loads: Sequence[Load], mode: str, column: Column, times: float
) -> Iterator[Target]:
    found = _standings(loads, lambda load: against(table, load, mode, column, PAPER[mode]))
    if found:
        over = [s.ours - times * s.theirs for s in found]
        worst = found[int(np.argmax(over))]
        yield Target(
            f"{mode}: {column.title}, andes-paper",
            f"≤ {times:g}× on every load",
            f"worst {worst.ours:.2f}, andes-paper {worst.theirs:.2f} ({worst.load.family})",
            max(over) <= column.same,
        )


def _at_least(
    table: Table,
    loads: Sequence[Load],
    mode: str,
    column: Column,
    least: float,
    title: str = "",
) -> Iterator[Target]:
    means = {load.family: column.mean(table, load, ANDES[mode]) for load in loads}
    known = {family: value for family, value in means.items() if value is not None}
    if known:
        family = min(known, key=lambda name: known[name])
        yield Target(
            f"{mode}: {title}{column.title}",
            f"≥ {least:g} on every load",
            f"worst {known[family]:.3f} ({family})",
            known[family] >= least,
        )


def _light(table: Table, families: Sequence[str]) -> Iterator[Target]:
    loads = [Load(family, shape) for family in families for shape in LIGHT_SHAPES]
    for mode in MODES:
        found = [
            standing
            for column in (AREA, DELAY, SHARE)
            for load in loads
            if (standing := against(table, load, mode, column, FCFS)) is not None
        ]
        if found:
            yield Target(
                f"{mode}: light load (Poisson ≤ 0.9), fcfs",
                f"area, delay, share never below by {_MAX_LIGHT_LOSS}",
                f"{_worst(found)}",
                all(s.gain >= -_MAX_LIGHT_LOSS for s in found),
            )


def _short_chat(table: Table, families: Sequence[str]) -> Iterator[Target]:
    load = Load("short-chat", BURST)
    wanted = {
        "offload": ((AREA, 0.999), (P5, 0.999), (STALL_P99, 0.0)),
        "recompute": ((AREA, 0.965), (P5, 0.8), (TTFT_P99, 2.0)),
    }
    for mode, limits in wanted.items():
        means = [column.mean(table, load, ANDES[mode]) for column, _ in limits]
        known = [value for value in means if value is not None]
        if load.family in families and len(known) == len(limits):
            signs = ["≤" if column.is_cost else "≥" for column, _ in limits]
            yield Target(
                f"{mode}: short chat",
                ", ".join(
                    f"{c.title} {sign} {limit:g}"
                    for sign, (c, limit) in zip(signs, limits, strict=True)
                ),
                ", ".join(f"{value:.3f}" for value in known),
                all(
                    value <= limit + c.same if c.is_cost else value >= limit
                    for value, (c, limit) in zip(known, limits, strict=True)
                ),
            )


def _curve(table: Table, loads: Sequence[Load]) -> Iterator[Target]:
    found = [TOKENS.over(table, loads, contender) for contender in on_curve().values()]
    known = [value for value in found if value is not None]
    if known:
        yield Target(
            "recompute: one setting moves tokens/s / fcfs",
            f"from {_CURVE[0]} or less to {_CURVE[1]} or more",
            f"{min(known):.3f} to {max(known):.3f}",
            min(known) <= _CURVE[0] and max(known) >= _CURVE[1],
        )


def _standings(
    loads: Iterable[Load], of: Callable[[Load], AgainstBaseline | None]
) -> list[AgainstBaseline]:
    return [standing for load in loads if (standing := of(load)) is not None]


def _worst(found: Sequence[AgainstBaseline]) -> str:
    worst = min(found, key=lambda standing: standing.gain)
    where = worst.load.family
    if worst.load.shape != BURST:
        where += f" {worst.load.shape}, {worst.column.title}"
    return f"worst {worst.gain:+.3f} ({where})"
