"""The numbers behind one engine's metrics, on their way to its replica: totals, no deltas.

They are too many for routers, and nobody needs them ten times a second: they travel on a
channel of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from telemetry.catalogue import ENGINE_METRICS
from telemetry.channel import StatePublisher, StateReceiver
from telemetry.report import ReportError

SCHEMA = 1
Values = tuple[float | None, ...]
_NUM_VALUES = {metric.name: metric.num_values for metric in ENGINE_METRICS}


class EngineMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Every metric of one engine.

    Attributes:
        schema: Version of this layout.
        epoch: Random name of this engine start; a new one begins all totals again.
        seq: Number within the epoch.
        info: Labels of `catalogue.INFO`.
        values: By the metric's name, in the order of `Metric.tags`; a histogram's buckets
            one after the other. None: nobody to measure it on.
    """

    schema: int = SCHEMA
    epoch: str
    seq: int
    info: Mapping[str, str]
    values: Mapping[str, Values]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(EngineMetrics)


def encode(metrics: EngineMetrics) -> bytes:
    return _encoder.encode(metrics)


def decode(data: bytes) -> EngineMetrics:
    """The metrics in `data`.

    Raises:
        ReportError: Something else, or not what the catalogue lists.
    """
    try:
        metrics = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ReportError(f"no engine metrics: {error}") from error
    if metrics.schema != SCHEMA:
        raise ReportError(f"engine metrics of schema {metrics.schema}, not {SCHEMA}")
    for name, values in metrics.values.items():
        if len(values) != _NUM_VALUES.get(name):
            raise ReportError(
                f"{len(values)} values of {name}, not {_NUM_VALUES.get(name)}"
            )
    return metrics


def values_of(numbers: Iterable[float]) -> Values:
    """`numbers` as a message carries them."""
    return tuple(map(float, numbers))


class MetricsPublisher(StatePublisher[EngineMetrics]):
    """The engine's end."""

    def _encode(self, report: EngineMetrics) -> bytes:
        return encode(report)


class MetricsReceiver(StateReceiver[EngineMetrics]):
    """The replica's end."""

    def _decode(self, message: bytes) -> EngineMetrics:
        return decode(message)
