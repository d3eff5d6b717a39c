"""The runs of a grid in worker processes that load vLLM once each."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TypeVar

from bench.processes import ctrl_c_is_ours, end_with_parent
from bench.replay.arguments import Cell
from bench.replay.results import RunSummary
from bench.scores import percentile

Key = TypeVar("Key", bound=Hashable)
Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one cell.

    Attributes:
        served_per_s: Requests finished per second, between the first and the last quarter.
    """

    summary: RunSummary
    plan_failures: int
    served_per_s: float
    wall_s: float


class Workers:
    """Processes that run cells; on any error, Ctrl-C included, all of them end at once."""

    def __init__(self, count: int) -> None:
        # vLLM reads it when it is imported, and tells of every engine it configures.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        self._before = set(multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(
            count, multiprocessing.get_context("spawn"), initializer=_start_worker
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for process in self._processes():
                process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def run(self, cells: Mapping[Key, Cell]) -> Iterator[tuple[Key, Measured | Exception]]:
        """Start cells in the order given, and yield each as it ends, well or not."""
        return self.each(cells, measure)

    def each(
        self, jobs: Mapping[Key, Job], do: Callable[[Job], Done]
    ) -> Iterator[tuple[Key, Done | Exception]]:
        """As `run`, of anything that can be sent to a process."""
        keys: dict[Future[Done], Key] = {}
        with ctrl_c_is_ours():
            for key, job in jobs.items():
                keys[self._pool.submit(do, job)] = key
        for future in as_completed(keys):
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            yield keys[future], error or future.result()

    def _processes(self) -> set[BaseProcess]:
        return set(multiprocessing.active_children()) - self._before


def measure(cell: Cell) -> Measured:
    """Replay one cell and keep what tables need: the streams stay in the worker."""
    from bench.replay.run import replay  # noqa: PLC0415 - vLLM takes seconds

    started_s = time.perf_counter()
    run = replay(cell)
    middle_s = percentile(run.scores.end_s, 75) - percentile(run.scores.end_s, 25)
    return Measured(
        run.summary,
        run.plan_failures,
        served_per_s=len(run.scores) / 2 / max(middle_s, 1e-9),
        wall_s=time.perf_counter() - started_s,
    )


def _start_worker() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    import bench.replay.run  # noqa: F401, PLC0415 - loads vLLM
