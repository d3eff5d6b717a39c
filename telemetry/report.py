"""What one engine tells its replica: the whole state of its readers, never a delta.

A lost report loses nothing: the next one says everything again.
"""

from __future__ import annotations

import msgspec

SCHEMA = 1
SLACK_GRID_S = (1.0, 2.0, 4.0, 8.0)


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
        mean_output_tokens: Mean length of finished streams; 0 before the first.
        step_time_s: Smoothed seconds between steps with work; 0 before the second.
        qoe_mean: Mean area QoE of the live streams so far; 1 without any.
        qoe_p5: 5th percentile of the same.
    """

    schema: int = SCHEMA
    epoch: str
    seq: int
    kv_blocks_total: int
    kv_blocks_used: int
    block_size_tokens: int
    kv_blocks_preemptible: tuple[int, int, int, int]
    demand_tokens: int
    running: int
    waiting: int
    preempted: int
    accepted_total: int
    finished_total: int
    preemptions_total: int
    plan_failures_total: int
    tokens_total: int
    mean_output_tokens: float
    step_time_s: float
    qoe_mean: float
    qoe_p5: float

    @property
    def is_idle(self) -> bool:
        """Whether the engine had nothing to do; an idle report does not grow old."""
        return self.running + self.waiting == 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(EngineReport)


def encode(report: EngineReport) -> bytes:
    return _encoder.encode(report)


def decode(data: bytes) -> EngineReport:
    """The report in `data`.

    Raises:
        ReportError: Not a report, or one of another schema.
    """
    try:
        report = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ReportError(f"not an engine report: {error}") from error
    return _of_this_schema(report)


def from_mapping(stats: object) -> EngineReport:
    """The report in a dict made by `msgspec.to_builtins`, as routing stats carry it.

    Raises:
        ReportError: Not a report, or one of another schema.
    """
    try:
        report = msgspec.convert(stats, EngineReport)
    except msgspec.ValidationError as error:
        raise ReportError(f"not an engine report: {error}") from error
    return _of_this_schema(report)


def _of_this_schema(report: EngineReport) -> EngineReport:
    if report.schema != SCHEMA:
        raise ReportError(f"engine report of schema {report.schema}, not {SCHEMA}")
    return report
