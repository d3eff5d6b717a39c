"""Worker processes that load vLLM once each, and what they are given to do."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TypeVar

from bench.processes import ctrl_c_is_ours, end_with_parent

Key = TypeVar("Key", bound=Hashable)
Job = TypeVar("Job")
Done = TypeVar("Done")


class Workers:
    """Processes that do jobs; on any error, Ctrl-C included, all of them end at once."""

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

    def each(
        self, jobs: Mapping[Key, Job], do: Callable[[Job], Done]
    ) -> Iterator[tuple[Key, Done | Exception]]:
        """Start jobs in the order given, and yield each as it ends, well or not."""
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


def _start_worker() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    import bench.replay.run  # noqa: F401, PLC0415 - loads vLLM
