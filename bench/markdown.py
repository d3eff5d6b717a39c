"""What the pages of results are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


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


def fill(path: Path, mark: str, text: str) -> bool:
    """Put a text between `<!-- MARK -->` and `<!-- /MARK -->`; whether they are there."""
    if not path.exists():
        return False
    block = re.compile(rf"(?<=<!-- {mark} -->\n).*?(?=<!-- /{mark} -->)", re.DOTALL)
    # A function, because a backslash in the text would mean something to `re`.
    filled, count = block.subn(lambda _: f"{text}\n", path.read_text(encoding="utf-8"))
    if count:
        path.write_text(filled, encoding="utf-8")
    return count > 0
