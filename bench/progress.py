"""A live line about a run on a terminal, and silence elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

from bench.client import Progress, ProgressCallback


@contextlib.contextmanager
def progress_bar(console: Console) -> Iterator[ProgressCallback | None]:
    """For the time of a run: a callback that keeps one line up to date.

    None where the console is no terminal: a log wants no thousand copies of a line.
    """
    if not console.is_terminal:
        yield None
        return
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    # Refreshed by the load generator alone: a thread of rich's own would take the GIL from
    # it whenever it pleased.
    with Display(*columns, console=console, auto_refresh=False, transient=True) as display:
        yield _Line(display).show


class _Line:
    def __init__(self, display: Display) -> None:
        self._display = display
        self._task = display.add_task("")
        self._shown_at_s = time.monotonic()
        self._shown_tokens = 0

    def show(self, progress: Progress) -> None:
        now_s = time.monotonic()
        elapsed_s = max(now_s - self._shown_at_s, 1e-3)
        tokens_per_s = (progress.tokens - self._shown_tokens) / elapsed_s
        self._shown_at_s, self._shown_tokens = now_s, progress.tokens
        failed = f" · [red]{progress.failed:,} failed[/red]" if progress.failed else ""
        self._display.update(
            self._task,
            total=progress.total,
            completed=progress.finished,
            description=f"{progress.sent:,} sent · {progress.finished:,} of "
            f"{progress.total:,} finished{failed} · {tokens_per_s:,.0f} tokens/s",
        )
        self._display.refresh()
