"""Recording and alerting rules: readers suffer, or what keeps them from it is broken.

The objective is that 99 % of the streams that have a reader end with QoE above 0.95. Its
error budget is spent fast or slowly, and somebody is told accordingly, as in the Google SRE
workbook: both of a long and a short window must be high, so that an alert also ends soon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashboards import queries as q
from dashboards.runbooks import alert_url
from telemetry import catalogue as c

OBJECTIVE = 0.99
BUDGET = 1 - OBJECTIVE
BURN_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
# Two of three streams an hour are no pattern.
MIN_STREAMS = 20
PERIOD = "30s"
_WINDOW_S = {"1h": 3600, "6h": 21600, "1d": 86400, "3d": 259200}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        name: In Prometheus; the runbook's page is the same in words.
        expr: PromQL; every series it returns is an alert.
        hold: How long it must be so before anybody is told.
        severity: page wakes somebody, ticket waits for the morning.
        summary: One sentence for whoever is told, with what is measured.
        runbook: Page of docs/runbooks.
    """

    name: str
    expr: str
    hold: str
    severity: str
    summary: str
    runbook: str

    def build(self) -> dict[str, Any]:
        """As Prometheus has it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.hold,
            "labels": {"severity": self.severity, "service": "andes"},
            "annotations": {
                "summary": self.summary,
                "runbook_url": alert_url(self.runbook),
            },
        }


def bad_share(window: str) -> str:
    """Name of the recorded share of streams that ended at or below target."""
    return f"andes:qoe_bad:ratio_rate{window}"


def stream_rate(window: str) -> str:
    """Name of the recorded streams a second that ended."""
    return f"andes:qoe_streams:rate{window}"


def burn_rate(window: str) -> str:
    """For a dashboard: how many times faster than allowed the budget is spent."""
    return f"max({q.series(bad_share(window), q.OF_APPLICATION)}) / {BUDGET:g}"


def _rate(name: str, window: str, *matchers: str) -> str:
    return q.rate(name, "application", q.HAS_READER, *matchers, window=window, of="")


def recordings() -> list[dict[str, str]]:
    """Shares and rates by window; a share is missing where no stream ended."""
    rules = []
    for window in BURN_WINDOWS:
        bad = _rate(q.bucket(c.QOE), window, q.TARGET_EDGE)
        ended = _rate(q.count(c.QOE), window)
        rules += [
            {"record": bad_share(window), "expr": f"{bad} / ({ended} > 0)"},
            {"record": stream_rate(window), "expr": ended},
        ]
    return rules


def _burns(factor: float, long: str, short: str) -> str:
    limit = f"{factor * BUDGET:g}"
    enough = f"{stream_rate(long)} * {_WINDOW_S[long]} >= {MIN_STREAMS}"
    high = (f"{bad_share(window)} > {limit}" for window in (long, short))
    return f"({' and '.join(high)} and {enough})"


def _share_of(part: str, whole: str) -> str:
    return f"{part} / ({whole} > 0)"


def _decisions(outcomes: str) -> str:
    matcher = f'outcome=~"{outcomes}"' if outcomes else ""
    return q.rate(c.DECISIONS, "application", matcher, window="5m", of="")


_BELOW, _ACTIVE = (q.now(m, "application", of="") for m in (c.BELOW_TARGET, c.ACTIVE))
_BLIND = _share_of(_decisions("no_report|error"), _decisions("scored|no_report|error"))
_SHED = _share_of(_decisions("shed"), _decisions(""))
_PREEMPTED, _ENDED = (
    q.rate(m, "application", window="10m", of="") for m in (c.PREEMPTIONS, c.FINISHED)
)
_HEALTHY, _WANTED = (
    q.now(m, "application", q.REPLICAS, of="") for m in (q.SERVE_HEALTHY, q.SERVE_TARGET)
)

ALERTS = (
    Alert(
        "AndesReadersSufferFast",
        f"{_burns(14.4, '1h', '5m')} or {_burns(6, '6h', '30m')}",
        "2m",
        "page",
        "{{ $value | humanizePercentage }} of the streams of {{ $labels.application }} end "
        "with QoE below 0.95; 1 % may.",
        "readers-suffer",
    ),
    Alert(
        "AndesReadersSufferSlowly",
        f"{_burns(3, '1d', '2h')} or {_burns(1, '3d', '6h')}",
        "15m",
        "ticket",
        "{{ $value | humanizePercentage }} of the streams of {{ $labels.application }} end "
        "with QoE below 0.95 for a day or more; 1 % may.",
        "readers-suffer",
    ),
    Alert(
        "AndesReadersBelowTargetNow",
        f"{_share_of(_BELOW, _ACTIVE)} > 0.5 and {_ACTIVE} >= 10",
        "5m",
        "page",
        "{{ $value | humanizePercentage }} of the streams that {{ $labels.application }} "
        "serves now are below target.",
        "readers-below-target-now",
    ),
    Alert(
        "AndesEngineFallsBack",
        f"sum by (application, replica) (increase({c.FALLBACKS.exposed}[10m])) > 0",
        "1m",
        "ticket",
        "Andes failed {{ $value | humanize }} times within 10 min on replica "
        "{{ $labels.replica }}, which ran as plain vLLM.",
        "engine-falls-back",
    ),
    Alert(
        "AndesThrash",
        f"{_share_of(_PREEMPTED, _ENDED)} > 3",
        "10m",
        "ticket",
        "A stream of {{ $labels.application }} loses its KV memory {{ $value | humanize }} "
        "times before it ends.",
        "thrash",
    ),
    Alert(
        "AndesReportsStale",
        f"{_BLIND} > 0.05",
        "5m",
        "ticket",
        "Routers of {{ $labels.application }} place {{ $value | humanizePercentage }} of "
        "the streams without knowing how the replicas are.",
        "reports-stale",
    ),
    Alert(
        "AndesCapacityExhausted",
        f"({q.kv_share('application', of='')} > 0.95 and "
        f"{_share_of(_BELOW, _ACTIVE)} > 0.1) or {_SHED} > 0.01",
        "10m",
        "page",
        "{{ $labels.application }} has more readers than it can serve well.",
        "capacity-exhausted",
    ),
    Alert(
        "AndesReplicaUnhealthy",
        f"{_HEALTHY} < {_WANTED}",
        "10m",
        "ticket",
        "{{ $labels.application }} has {{ $value }} healthy replicas, fewer than wanted.",
        "replica-unhealthy",
    ),
    Alert(
        "AndesMetricsMissing",
        f"absent({c.INFO.exposed})",
        "5m",
        "page",
        "No engine of Andes has told anything for 5 min: it is down, or not scraped.",
        "metrics-missing",
    ),
)


def rules() -> dict[str, Any]:
    """The rules as a file of Prometheus, and as the spec of a PrometheusRule."""
    alerts = [alert.build() for alert in ALERTS]
    return {
        "groups": [
            {"name": "andes-objective", "interval": PERIOD, "rules": recordings()},
            {"name": "andes-alerts", "interval": PERIOD, "rules": alerts},
        ]
    }
