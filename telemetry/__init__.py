"""What an engine tells the world about its readers, and how it travels."""

from telemetry.channel import ReportPublisher, ReportReceiver, new_endpoint
from telemetry.report import EngineReport, ReportError
from telemetry.routing_stats import from_routing_stats, to_routing_stats

__all__ = [
    "EngineReport",
    "ReportError",
    "ReportPublisher",
    "ReportReceiver",
    "from_routing_stats",
    "new_endpoint",
    "to_routing_stats",
]
