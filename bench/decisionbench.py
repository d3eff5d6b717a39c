"""The router's part of `andes microbench`: what placing a stream costs in Python.

Two routers of one fleet, one that weighs QoE and one that takes turns, place the same
streams one after the other, so that a noisy machine is as noisy for both. Between two
placements as many reports come as in a fleet whose replicas each get a stream a second,
and are taken in as `QoERequestRouter` does it, before the next stream comes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from rich.table import Table

from bench.percentiles import Milliseconds, milliseconds
from qoe.marginal_loss import SHAPE
from router.chooser import Chooser, Stream
from router.settings import PolicyName, RouterSettings
from telemetry.report import MAX_KEYS, EngineReport, request_key

DEFAULT_FLEETS = (8, 64)
# Twenty a second and replica: all replicas together say it while each gets one stream.
REPORTS_PER_PLACEMENT = 20
WARM_UP_PLACEMENTS = 50
KV_BLOCKS, BLOCK_TOKENS = 27_720, 16
PROMPT = "Of all the readers here, who would notice? " * 60
READER = {"qoe_ttft_s": 1.0, "qoe_tds": 4.8}


class FleetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One number of replicas.

    Attributes:
        replicas: All of them report.
        decision_ms: A placement by QoE, from the request to its reservation: all of
            `Chooser.choose`, without what Serve's own objects add.
        turn_ms: A placement by turns, through the same code.
        report_ms: What a router does with one report before the next placement, its part
            of `Chooser.settle` included and decoding aside.
        ratio: Median `decision_ms` over median `turn_ms`.
    """

    replicas: int
    decision_ms: Milliseconds
    turn_ms: Milliseconds
    report_ms: Milliseconds
    ratio: float


class _Router:
    """A router, and the engines as they report: they take at once what they are sent."""

    def __init__(self, policy: PolicyName, num_replicas: int) -> None:
        # On a slow machine reports would grow old between two placements.
        self._now_s, self._placement_s = 0.0, 1.0 / num_replicas
        self._chooser = Chooser(
            RouterSettings(policy=policy, seed=0), now_s=lambda: self._now_s
        )
        self._replicas = [f"replica {number}" for number in range(num_replicas)]
        self._candidates = [(replica, None) for replica in self._replicas]
        self._accepted = [0] * num_replicas
        self._keys = [deque[int](maxlen=MAX_KEYS) for _ in self._replicas]

    def on_report(self, number: int, report: EngineReport) -> float:
        """Seconds that it takes to take a report of a replica."""
        report = msgspec.structs.replace(
            report,
            accepted_total=self._accepted[number],
            accepted_keys=tuple(self._keys[number]),
        )
        return _seconds(lambda: self._chooser.on_report(self._replicas[number], report))

    def settle(self) -> float:
        """Seconds that it takes to be ready for a placement after what was heard."""
        return _seconds(self._chooser.settle)

    def place(self, request_id: str) -> float:
        """Seconds that it takes to place a stream."""
        body = {
            "stream": True,
            "messages": [{"role": "user", "content": PROMPT}],
            "vllm_xargs": READER,
        }
        stream = Stream(request_id, 0, body)
        self._now_s += self._placement_s
        started_s = time.thread_time()
        ranks = self._chooser.choose(self._candidates, stream)
        took_s = time.thread_time() - started_s
        self._accepted[ranks[0][0]] += 1
        self._keys[ranks[0][0]].append(request_key(request_id))
        return took_s


def measure_fleet(num_replicas: int, placements: int) -> FleetResult:
    """Interleave `placements` by QoE and by turns among `num_replicas`."""
    rng = np.random.default_rng(0)
    by_qoe, by_turns = (_Router(p, num_replicas) for p in ("qoe", "round_robin"))
    seq = 0

    def on_report(number: int) -> float:
        nonlocal seq
        seq += 1
        report = _report(seq, rng)
        by_turns.on_report(number, report)
        return by_qoe.on_report(number, report)

    for number in range(num_replicas):
        on_report(number)
    times_s = np.zeros((3, WARM_UP_PLACEMENTS + placements))
    for placement in range(times_s.shape[1]):
        speakers = rng.integers(num_replicas, size=REPORTS_PER_PLACEMENT)
        heard_s = float(np.sum([on_report(int(number)) for number in speakers]))
        heard_s += by_qoe.settle()
        by_turns.settle()
        request_id = f"request {placement}"
        times_s[:, placement] = (
            by_qoe.place(request_id),
            by_turns.place(request_id),
            heard_s / REPORTS_PER_PLACEMENT,
        )
    decision_s, turn_s, heard = times_s[:, WARM_UP_PLACEMENTS:]
    return FleetResult(
        replicas=num_replicas,
        decision_ms=milliseconds(decision_s),
        turn_ms=milliseconds(turn_s),
        report_ms=milliseconds(heard),
        ratio=round(float(np.median(decision_s) / np.median(turn_s)), 4),
    )


def table(measured: Sequence[FleetResult]) -> Table:
    """For a terminal."""
    made = Table(title="one placement, ms (p50 / p99)", title_justify="left")
    for heading in ("replicas", "by QoE", "by turns", "a report", "QoE / turns"):
        made.add_column(heading, justify="right")
    for fleet in measured:
        times = (fleet.decision_ms, fleet.turn_ms, fleet.report_ms)
        made.add_row(f"{fleet.replicas:,}", *map(str, times), f"{fleet.ratio:.1f}")
    return made


def _report(seq: int, rng: np.random.Generator) -> EngineReport:
    """A busy engine's, of random load."""
    used, waiting = int(rng.integers(KV_BLOCKS)), int(rng.integers(40))
    free_later = np.sort(rng.integers(used + 1, size=4))[::-1]
    return EngineReport(
        epoch="one",
        seq=seq,
        kv_blocks_total=KV_BLOCKS,
        kv_blocks_used=used,
        block_size_tokens=BLOCK_TOKENS,
        kv_blocks_preemptible=tuple(free_later.tolist()),
        demand_tokens=used * BLOCK_TOKENS + waiting * 500,
        running=used * BLOCK_TOKENS // 800 + 1,
        waiting=waiting,
        preempted=waiting // 2,
        accepted_total=0,
        finished_total=1000,
        preemptions_total=100,
        plan_failures_total=0,
        tokens_total=1_000_000,
        mean_output_tokens=250.0,
        step_time_s=0.02,
        qoe_mean=0.95,
        qoe_p5=0.6,
        step_base_s=0.007,
        step_per_stream_s=7e-5,
        prefill_s_per_token=1.6e-5,
        prefill_backlog_tokens=waiting * 400,
        slack_histogram=tuple(rng.integers(20, size=6).tolist()),
        marginal_loss=tuple(np.sort(rng.random(SHAPE), axis=None).tolist()),
    )


def _seconds(do: Callable[[], None]) -> float:
    started_s = time.thread_time()
    do()
    return time.thread_time() - started_s
