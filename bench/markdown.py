"""What the pages of results are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def pipe_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1
) -> str:
    """A markdown table; the first `texts` columns are text, the rest are numbers."""
    rule = "|".join(["---"] * texts + ["--:"] * (len(head) - texts))
    lines = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *lines])


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """A dash where there is no number."""
    return "–" if value is None else f"{value:,.{digits}f}{unit}"
