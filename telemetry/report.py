"""What one engine tells its replica: the whole state of its readers, never a delta.

A lost report loses nothing: the next one says everything again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated

import msgspec
from msgspec import Meta

SCHEMA = 3
SLACK_GRID_S = (1.0, 2.0, 4.0, 8.0)
# Inner edges of the eight bins of `slack_histogram`; the first bin holds the late.
SLACK_EDGES_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# A live stream whose QoE so far is below this is below target.
TARGET_QOE = 0.95
# What a router sent between two reports must fit, or it takes a timeout to forget it.
MAX_KEYS = 128
# 9 demands times 7 stalls: the axes of `qoe.marginal_loss`.
MARGINAL_LOSS_SIZE = 63

# No engine counts as far as this: beyond it is garbage, and sums stay finite.
MAX_COUNT = 10**15
# No step takes this long, nor a token of a prompt.
MAX_SECONDS = 3600.0

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Amount = Annotated[float, Meta(ge=0, le=float(MAX_COUNT))]
Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
# Sums of floats end up a little beside what they mean.
Share = Annotated[float, Meta(ge=-0.01, le=1.01)]
Histogram = Annotated[tuple[Count, ...], Meta(max_length=len(SLACK_EDGES_S) + 1)]
Loss = Annotated[float, Meta(ge=-0.01, le=float(MAX_COUNT))]
MarginalLoss = Annotated[tuple[Loss, ...], Meta(max_length=MARGINAL_LOSS_SIZE)]
Keys = Annotated[tuple[int, ...], Meta(max_length=MAX_KEYS)]


class ReportError(ValueError):
    """Bytes that are not an `EngineReport` of this schema."""


class EngineReport(msgspec.Struct, frozen=True, kw_only=True):
    """State of one engine after one of its steps.

    Totals count since the engine started and only grow; a new `epoch` starts them again.

    Attributes:
        schema: Version of this layout; receivers refuse any other.
        epoch: Random name of this engine start.
        seq: Number of the report within the epoch.
        kv_blocks_total: KV cache blocks of the engine.
        kv_blocks_used: Blocks held by live streams.
        block_size_tokens: Tokens a block holds.
        kv_blocks_preemptible: Blocks held by running streams whose reader could wait
            at least 1, 2, 4 and 8 s (`SLACK_GRID_S`).
        demand_tokens: Context tokens of all live streams, running or not.
        running: Streams that hold KV memory.
        waiting: Streams that hold none, `preempted` included.
        preempted: Streams that had begun and hold none now.
        accepted_total: Streams that entered the engine.
        finished_total: Streams that left it, for whatever reason.
        preemptions_total: Times a stream lost its KV memory.
        plan_failures_total: Steps that ran as plain vLLM because planning failed.
        tokens_total: Tokens delivered.
        mean_output_tokens: Mean length of finished streams that had begun; 0 before any.
        step_time_s: Smoothed seconds between steps with work; 0 before the second.
        qoe_mean: Mean area QoE of the live streams so far; 1 without any.
        qoe_p5: 5th percentile of the same.
        step_base_s: The learned step time is this,
        step_per_stream_s: and this for each stream in it,
        prefill_s_per_token: and this for each prompt token computed in it.
        prefill_backlog_tokens: Prompt tokens of streams without an answer yet that are
            still to be computed.
        resume_debt_tokens: Context of preempted streams that must be computed again; 0
            where a transfer brings it back.
        slack_histogram: Live streams by seconds until their reader notices, in bins
            between `SLACK_EDGES_S`; the first one has noticed.
        streams_below_target: Live streams whose area QoE so far is below `TARGET_QOE`.
        promised_tokens_per_s: Sum of the paces of the readers who have begun, or whose
            stream holds KV memory.
        tokens_per_s: What the recent steps brought, for each second of all they did; 0
            before the first.
        marginal_loss: `qoe.marginal_loss.marginal_loss_table` of the live streams,
            row by row; empty where there is none.
        accepted_keys: `request_key` of the newest accepted requests, oldest first.
        accepting: False while the replica drains; its own process says so, not the engine.
        ended_keys: `request_key` of the newest requests that ended at the replica and that
            its engine had not named, oldest first; the replica says so, too.
    """

    schema: int = SCHEMA
    epoch: str
    seq: int
    kv_blocks_total: Count
    kv_blocks_used: Count
    block_size_tokens: Count
    kv_blocks_preemptible: tuple[Count, Count, Count, Count]
    demand_tokens: Count
    running: Count
    waiting: Count
    preempted: Count
    accepted_total: Count
    finished_total: Count
    preemptions_total: Count
    plan_failures_total: Count
    tokens_total: Count
    mean_output_tokens: Amount
    step_time_s: Seconds
    qoe_mean: Share
    qoe_p5: Share
    step_base_s: Seconds = 0.0
    step_per_stream_s: Seconds = 0.0
    prefill_s_per_token: Seconds = 0.0
    prefill_backlog_tokens: Count = 0
    resume_debt_tokens: Count = 0
    slack_histogram: Histogram = ()
    streams_below_target: Count = 0
    promised_tokens_per_s: Amount = 0.0
    tokens_per_s: Amount = 0.0
    marginal_loss: MarginalLoss = ()
    accepted_keys: Keys = ()
    accepting: bool = True
    ended_keys: Keys = ()

    @property
    def is_idle(self) -> bool:
        """Whether the engine had nothing to do; an idle report does not grow old."""
        return self.running + self.waiting == 0


def contradiction(report: EngineReport, earlier: EngineReport | None) -> str:
    """What no engine can mean by `report`; empty if it can.

    Args:
        report: Numbers within their ranges.
        earlier: A sound report of the same replica.
    """
    if report.kv_blocks_used > report.kv_blocks_total:
        return f"holds {report.kv_blocks_used} of {report.kv_blocks_total} KV blocks"
    if report.is_idle and report.accepted_total > report.finished_total:
        left = report.accepted_total - report.finished_total
        return f"says that it is empty and that {left} streams have not ended"
    if earlier is None or report.epoch != earlier.epoch:
        return ""
    if report.kv_blocks_total != earlier.kv_blocks_total:
        return f"had {earlier.kv_blocks_total} KV blocks, and now {report.kv_blocks_total}"
    if (
        report.accepted_total < earlier.accepted_total
        or report.finished_total < earlier.finished_total
        or report.tokens_total < earlier.tokens_total
    ):
        return "counts back"
    return ""


def request_key(request_id: str) -> int:
    """What router and engine both call this request: 63 bits, the same in every process."""
    digest = blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & (2**63 - 1)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(EngineReport)
# Text that is no Unicode, and what nests too deep, are errors of Python's own.
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


def encode(report: EngineReport) -> bytes:
    return _encoder.encode(report)


def decode(data: bytes) -> EngineReport:
    """The report in `data`.

    Raises:
        ReportError: Not a report, or one of another schema.
    """
    try:
        report = _decoder.decode(data)
    except _UNREADABLE as error:
        raise ReportError(f"not an engine report: {error}") from error
    return _of_this_schema(report)


def from_mapping(stats: object) -> EngineReport:
    """The report in a dict made by `msgspec.to_builtins`, as routing stats carry it.

    Raises:
        ReportError: Not a report, or one of another schema.
    """
    try:
        report = msgspec.convert(stats, EngineReport)
    except _UNREADABLE as error:
        raise ReportError(f"not an engine report: {error}") from error
    return _of_this_schema(report)


def _of_this_schema(report: EngineReport) -> EngineReport:
    if report.schema != SCHEMA:
        raise ReportError(f"engine report of schema {report.schema}, not {SCHEMA}")
    return report
