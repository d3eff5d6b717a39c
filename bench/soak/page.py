"""A soak as a table in `docs/reliability.md`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.markdown import pipe_table
from bench.soak.results import ENDINGS, FINISHED, REFUSED, Ended, InjectedFault, Soak


def page(soak: Soak) -> str:
    """Both tables, and where they come from."""
    made_by = soak.environment.made_by(soak.command)
    verdict = "All of it held." if soak.held else "**Not all of it held.**"
    checks = [
        (check.name, "yes" if check.held else "**no**", check.seen.replace("|", "\\|"))
        for check in soak.checks
    ]
    return "\n\n".join(
        [
            f"{made_by} Two replicas, `streaming: {soak.streaming}`. {verdict}",
            pipe_table(("", "", "what was lost"), _done(soak), texts=3),
            pipe_table(("what must hold", "held", "seen"), checks, texts=3),
        ]
    )


def _done(soak: Soak) -> list[tuple[str, str, str]]:
    bad = [one for one in soak.ended if one.kind == "bad"]
    asked = [one for one in soak.ended if one.kind != "bad"]
    return [
        ("load held", _load(soak, asked), _lost(asked)),
        ("faults injected", _faults(soak.faults), _cut(asked)),
        (
            "bad inputs tried",
            f"{len(bad):,}",
            _or_nothing(sum(one.ending != REFUSED for one in bad), "not refused"),
        ),
    ]


def _load(soak: Soak, asked: Sequence[Ended]) -> str:
    counts = Counter(one.ending for one in asked)
    tokens = sum(one.tokens for one in asked)
    longest_s = max((one.ended_s - one.began_s for one in asked), default=0.0)
    ends = ", ".join(f"{counts[name]:,} {name}" for name in ENDINGS if counts[name])
    return (
        f"{len(asked):,} answers in {soak.duration_s / 60:.0f} min: {ends}; "
        f"{tokens:,} tokens, the longest stream {longest_s:.0f} s"
    )


def _faults(faults: Sequence[InjectedFault]) -> str:
    counts = Counter(fault.name for fault in faults)
    said = [f"{count} × {name.replace('_', ' ')}" for name, count in sorted(counts.items())]
    return ", ".join(said) or "none"


def _lost(asked: Sequence[Ended]) -> str:
    wrong = sum(bool(one.difference) for one in asked)
    lost = sum(one.ending not in ENDINGS or one.ending == "failed" for one in asked)
    return _or_nothing(lost + wrong, "answers")


def _cut(asked: Sequence[Ended]) -> str:
    """Streams that were cut, and went on when their client asked for the rest."""
    cut = [one for one in asked if one.breaks]
    whole = sum(one.ending == FINISHED for one in cut)
    return (
        f"{len(cut):,} answers were cut or had to be asked for again; {whole:,} came whole"
    )


def _or_nothing(count: int, what: str) -> str:
    return f"{count:,} {what}" if count else "nothing"
