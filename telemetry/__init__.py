"""What an engine tells the world about its readers, and how it travels."""

from telemetry.channel import ReportPublisher, ReportReceiver, new_endpoint
from telemetry.report import EngineReport, ReportError, request_key
from telemetry.routing_stats import endpoint_of, from_routing_stats, to_routing_stats

__all__ = [
    "EngineReport",
    "ReportError",
    "ReportPublisher",
    "ReportReceiver",
    "endpoint_of",
    "from_routing_stats",
    "new_endpoint",
    "request_key",
    "to_routing_stats",
]
