"""A replica's part in telemetry: it takes its engine's reports, and publishes them."""

from __future__ import annotations

import logging
from typing import Any

import zmq

from telemetry.broadcast import ReportBroadcaster
from telemetry.channel import ReportReceiver, new_endpoint
from telemetry.report import EngineReport, request_key
from telemetry.routing_stats import to_routing_stats

logger = logging.getLogger(__name__)


class ReplicaTelemetry:
    """Relays what the engine reports, and whether this replica takes streams.

    Without a network to broadcast over, routers still have Serve's routing stats.

    Args:
        host: Address of this node that routers can reach.

    Attributes:
        engine_endpoint: Where the engine must send its reports.
    """

    def __init__(self, host: str) -> None:
        self.engine_endpoint = new_endpoint()
        self._receiver = ReportReceiver(self.engine_endpoint)
        self._broadcaster: ReportBroadcaster | None = None
        try:
            self._broadcaster = ReportBroadcaster(host, self._receiver.latest)
        except zmq.ZMQError as error:
            logger.warning(
                "Routers get reports of this replica only by Serve: %s %s", host, error
            )

    def latest(self) -> EngineReport | None:
        """The engine's newest report, as routers get it; None before the first."""
        return (self._broadcaster or self._receiver).latest()

    def last_report(self) -> tuple[str, int] | None:
        """Epoch and number of what the engine itself said last; None before the first."""
        report = self._receiver.latest()
        return None if report is None else (report.epoch, report.seq)

    def routing_stats(self) -> dict[str, Any]:
        """What Serve carries to routers, slowly."""
        endpoint = self._broadcaster.endpoint if self._broadcaster else None
        return to_routing_stats(self.latest(), endpoint)

    def set_accepting(self, accepting: bool) -> None:
        """Tell routers at once whether this replica takes streams."""
        if self._broadcaster is not None:
            self._broadcaster.set_accepting(accepting)

    def ended(self, request_id: str) -> None:
        """Tell routers of a request that is over here, unless its engine has named it.

        One that was refused, or whose client left, may never have come to the engine.
        """
        report, key = self._receiver.latest(), request_key(request_id)
        is_named = report is not None and key in report.accepted_keys
        if self._broadcaster is not None and not is_named:
            self._broadcaster.add_ended(key)

    def close(self) -> None:
        """Free both endpoints; a second call does nothing."""
        if self._broadcaster is not None:
            self._broadcaster.close()
        self._receiver.close()
