"""Whether processes grow: what each surely gained while it was watched. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.soak.results import Check, Series, Usage, with_examples

WARM_UP_S = 30.0
LEAST_SAMPLES = 20
# What a process may gain in the time that it is watched.
MORE_MEMORY, MORE_MEMORY_MIB = 0.05, 16
MORE_THINGS = 8.0
THINGS = {
    "memory is flat": "memory_mib",
    "descriptors are flat": "descriptors",
    "sockets are flat": "sockets",
    "threads are flat": "threads",
}


def flat(series: Series) -> list[Check]:
    """No process grows: the lower end of the slope's 95 % interval is within the bound.

    Theil and Sen's slope, in each half of what is left after the warm-up; a process may
    gain 5 % of its memory and 16 MiB in the time watched, and 8 of anything else.
    """
    watched = {
        name: [one for one in usages if one.at_s > usages[0].at_s + WARM_UP_S]
        for name, usages in series.items()
        if usages
    }
    enough = {name: u for name, u in watched.items() if len(u) >= LEAST_SAMPLES}
    return [_flat(name, what, enough) for name, what in THINGS.items()]


def _flat(name: str, what: str, series: Series) -> Check:
    gains = {process: gain(usages, what) for process, usages in series.items()}
    over = [
        f"{process} gains {gained:.1f}"
        for process, gained in gains.items()
        if gained > _bound(series[process], what)
    ]
    if gains:
        worst = max(gains, key=lambda process: gains[process])
        most = f"the most is {gains[worst]:.1f}, by {worst}"
    else:
        most = "none was watched for long enough"
    bound = (
        f"{MORE_MEMORY_MIB} MiB and {MORE_MEMORY:.0%}"
        if what == "memory_mib"
        else f"{MORE_THINGS:g}"
    )
    seen = f"{len(gains)} processes, each may surely gain {bound}; {most}"
    return Check(name, bool(gains) and not over, with_examples(seen, over))


def gain(usages: Sequence[Usage], what: str) -> float:
    """What a process surely gained in the time that it was watched.

    A leak shows in both halves; what is loaded once, as Serve's controller does when a
    replica dies, in one of them.
    """
    middle = len(usages) // 2
    return 2.0 * min(_gain(half, what) for half in (usages[:middle], usages[middle:]))


def _gain(usages: Sequence[Usage], what: str) -> float:
    from scipy.stats import theilslopes  # noqa: PLC0415 - of the dev extra

    times_s = [one.at_s for one in usages]
    slope = theilslopes([getattr(one, what) for one in usages], times_s, alpha=0.95)
    return float(slope.low_slope) * (times_s[-1] - times_s[0])


def _bound(usages: Sequence[Usage], what: str) -> float:
    if what == "memory_mib":
        return MORE_MEMORY_MIB + MORE_MEMORY * usages[0].memory_mib
    return MORE_THINGS
