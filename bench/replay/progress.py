"""How far many runs are: a line on a terminal, and now and then one in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Eta

# A log gets a line for every such part of the work.
_LOG_SHARE = 0.1


@contextmanager
def progress(
    total: int, cost_s: float, notes: Console
) -> Iterator[Callable[[float], None]]:
    """For the time of the runs: a callback that takes the expected cost of one that ended.

    Runs differ much in length, so what is left is told by cost rather than by number.
    """
    if not notes.is_terminal:
        yield _Log(total, cost_s, notes)
        return
    columns = (
        BarColumn(bar_width=30),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        # The speed over the whole run: single runs come in lumps.
        Eta(),
    )
    with Progress(
        *columns,
        console=notes,
        transient=True,
        refresh_per_second=2,
        speed_estimate_period=600,
    ) as bar:
        task = bar.add_task(f"0 of {total:,} runs", total=cost_s)
        ended = 0

        def tell(cost_of_one_s: float) -> None:
            nonlocal ended
            ended += 1
            bar.update(
                task, advance=cost_of_one_s, description=f"{ended:,} of {total:,} runs"
            )

        yield tell


class _Log:
    def __init__(self, total: int, cost_s: float, notes: Console) -> None:
        self._total, self._cost_s, self._notes = total, cost_s, notes
        self._ended, self._done_s, self._told = 0, 0.0, 0
        self._started_s = time.monotonic()

    def __call__(self, cost_of_one_s: float) -> None:
        self._ended += 1
        self._done_s += cost_of_one_s
        tenths = int(self._done_s / self._cost_s / _LOG_SHARE + 1e-9)
        if tenths > self._told:
            self._told = tenths
            elapsed_s = time.monotonic() - self._started_s
            self._notes.print(f"{self._ended:,} of {self._total:,} runs, {elapsed_s:.0f} s")
