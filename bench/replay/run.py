"""One scheduler on one load in virtual time: `replay`, picklable and silent."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from vllm.v1.core.sched.output import SchedulerOutput

from bench.load import PlannedStream
from bench.replay.arguments import Cell, Scenario
from bench.replay.engine import VirtualEngine
from bench.replay.profiles import LatencyProfile, latency_profile
from bench.replay.results import OnProgress, Run, RunSummary, plan_ms
from bench.replay.schedulers import settings_of
from bench.replay.virtual_config import MAX_MODEL_LEN, EngineSize
from bench.replay.workload import is_possible, plan_workload
from bench.scores import Scores


def replay(cell: Cell, on_progress: OnProgress | None = None) -> Run:
    """Replay the load of a cell through the real scheduler it names.

    The same cell gives the same run, `plan_ms` aside.

    Raises:
        UserError: A bad file, profile or setting, or a load without requests.
        RuntimeError: The scheduler holds streams and serves none of them.
    """
    profile = latency_profile(cell.profile)
    settings = settings_of(cell, profile)
    streams = plan_workload(cell)
    size = engine_size(cell, profile)
    limit_tokens = largest_stream(size)
    rows = [row for row, s in enumerate(streams) if is_possible(s, limit_tokens)]
    served = [streams[row] for row in rows]
    scores = Scores([stream.arrival_s for stream in streams])
    book = _Book(streams, rows, scores, on_progress)
    engine = MeteredEngine(settings, size, cost=profile.cost, on_done=book.ended)
    engine.run(served)
    return Run(
        cell.scheduler, _summary(engine, book), scores, engine.scheduler.plan_failures_total
    )


class MeteredEngine(VirtualEngine):
    """Notes how long each plan took, in `plans_s`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plans_s = array("d")

    def step(self) -> SchedulerOutput:
        now_s = self.now_s
        output = super().step()
        # Between plans it only holds the same streams back; with fcfs it never plans.
        if self.scheduler.planned_at_s == now_s:
            self.plans_s.append(self.scheduler.activity.plan_s)
        return output


class _Book:
    """Scores each stream when it ends; the engine then forgets it."""

    def __init__(
        self,
        streams: Sequence[PlannedStream],
        rows: Sequence[int],
        scores: Scores,
        on_progress: OnProgress | None,
    ) -> None:
        self.scores = scores
        self.num_refused = len(streams) - len(rows)
        self._streams = streams
        self._rows = rows
        self._num_ended = self.num_refused
        self._on_progress = on_progress
        self._report_progress()

    def ended(self, request_id: str, delivered_at_s: Sequence[float]) -> None:
        row = self._rows[int(request_id)]
        stream = self._streams[row]
        times_s = np.array(delivered_at_s) - stream.arrival_s
        self.scores.score(row, times_s, stream.expectation)
        self._num_ended += 1
        self._report_progress()

    def _report_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._num_ended, len(self._streams))


def engine_size(scenario: Scenario, profile: LatencyProfile) -> EngineSize:
    """What the engine of a scenario holds."""
    transfer_s = profile.transfer_s_per_token if scenario.resume == "offload" else None
    return EngineSize(
        scenario.kv_tokens or profile.kv_capacity_tokens,
        max_num_seqs=profile.limits.max_num_seqs,
        max_num_batched_tokens=profile.limits.max_num_batched_tokens,
        transfer_s_per_token=transfer_s,
    )


def largest_stream(size: EngineSize) -> int:
    """Tokens of the largest stream that an engine can ever finish."""
    # Block 0 is vLLM's null block.
    return min((size.num_blocks - 1) * size.block_size_tokens, MAX_MODEL_LEN)


def _summary(engine: MeteredEngine, book: _Book) -> RunSummary:
    scores = book.scores
    preemptions: int = engine.scheduler.streams.preemptions_total
    return RunSummary(
        **msgspec.structs.asdict(scores.quality()),
        preemptions_per_request=preemptions / len(scores),
        peak_waiting=engine.peak_waiting,
        plan_ms=plan_ms([engine.plans_s]),
        refused=book.num_refused,
        makespan_s=scores.makespan_s,
        out_of_patience=engine.scheduler.streams.refused_total,
    )
