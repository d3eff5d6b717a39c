"""The engine's metrics, told once a second and when the last stream has gone."""

from __future__ import annotations

import os
import uuid
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol, Self

import numpy as np

from scheduler.activity import Activity
from scheduler.live_streams import LiveStreams
from scheduler.settings import METRICS_ENDPOINT_ENV
from telemetry import catalogue
from telemetry.engine_metrics import EngineMetrics, MetricsPublisher, values_of
from telemetry.report import EngineReport

PERIOD_S = 1.0


class Publisher(Protocol):
    """Where metrics go."""

    def publish(self, report: EngineMetrics) -> None:
        """Take them; never blocks, never raises."""

    def close(self) -> None:
        """Nothing more will come."""


class Meter:
    """Builds `EngineMetrics` beside the reports, and publishes them.

    Args:
        publisher: None where nobody listens.
        policy: Who orders the streams.
    """

    def __init__(self, publisher: Publisher | None, policy: str) -> None:
        self._publisher = publisher
        self._info = {"policy": policy, "version": _version()}
        self._epoch = uuid.uuid4().hex[:12]
        self._seq = 0
        self._next_at_s = -np.inf

    @classmethod
    def from_environment(cls, policy: str) -> Self:
        """With the endpoint that the replica gave this engine process, if it did."""
        endpoint = os.environ.get(METRICS_ENDPOINT_ENV)
        return cls(MetricsPublisher(endpoint) if endpoint else None, policy)

    def reported(
        self, report: EngineReport, activity: Activity, streams: LiveStreams, now_s: float
    ) -> None:
        """Tell more than this report does, if it is time."""
        is_due = now_s >= self._next_at_s or report.is_idle
        if self._publisher is not None and is_due:
            self._next_at_s = now_s + PERIOD_S
            self._publisher.publish(self.build(report, activity, streams, now_s))

    def build(
        self, report: EngineReport, activity: Activity, streams: LiveStreams, now_s: float
    ) -> EngineMetrics:
        """The present state as the next metrics of this epoch."""
        self._seq += 1
        waiting = report.waiting - report.preempted
        blocks = (report.kv_blocks_used, report.kv_blocks_total)
        values = {
            **streams.figures.values(streams.all_slots(), now_s),
            **activity.values(report.preemptions_total, report.plan_failures_total),
            # Who is refused by a full engine never comes here: its replica counts them.
            catalogue.REFUSED.name: (streams.refused_total, 0.0),
            catalogue.KV_BLOCKS.name: values_of(blocks),
            catalogue.KV_PREEMPTIBLE.name: values_of(report.kv_blocks_preemptible),
            catalogue.STREAMS.name: values_of((report.running, waiting, report.preempted)),
        }
        return EngineMetrics(
            epoch=self._epoch, seq=self._seq, info=self._info, values=values
        )

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()


def _version() -> str:
    try:
        return version("andes")
    except PackageNotFoundError:
        # A source tree on the path will do for an engine.
        return "unknown"
