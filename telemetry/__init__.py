"""What an engine tells the world about its readers, and how it travels."""

from telemetry.report import EngineReport, ReportError

__all__ = ["EngineReport", "ReportError"]
