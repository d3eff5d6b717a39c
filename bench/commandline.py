"""The command that was given, as it may be published."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def published(words: Sequence[str]) -> str:
    """The words of a command, files by name wherever they lie here."""
    named = (Path(word).name if Path(word).is_absolute() else word for word in words)
    return shlex.join(["andes", *named])
