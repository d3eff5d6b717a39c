"""Router and fleet: where streams are sent, by what knowledge, and whether that is even."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.panels import Panel
from telemetry import catalogue as c

UID, TITLE = "andes-fleet", "Andes: router and fleet"
TEXT = "Where routers send streams, how fresh their knowledge is, and how even the load is."

_PLACED = 'outcome=~"scored|no_report|error"'
_BLIND = 'outcome=~"no_report|error"'
_REFUSED = 'outcome=~"held|shed"'


def _imbalance(vector: str, least: float) -> str:
    """The most by the mean; even where the mean is so small that it says nothing."""
    return f"max({vector}) / (avg({vector}) > {least:g}) or vector(1)"


_ROUTER = (
    Panel(
        "Decisions",
        "Streams a second by how they were placed: by score, or in turn for want of "
        "reports or after an error; held and shed ones were asked to wait or to go "
        "away.",
        ((q.rate(c.DECISIONS, "outcome"), "{{outcome}}"),),
        "reports-stale",
        unit="reqps",
    ),
    Panel(
        "Placed without knowledge",
        "Share of the placed streams that went to replicas in turn, since reports were "
        "missing or old. Above 5 % for minutes is an alert.",
        ((f"{q.rate(c.DECISIONS, '', _BLIND)} / "
          f"({q.rate(c.DECISIONS, '', _PLACED)} > 0) or vector(0)", "without"),),
        "reports-stale",
        unit="percentunit",
        low_top=0.1,
        limits=((0.05, "orange"),),
        below="transparent",
    ),
    Panel(
        "Held and shed",
        "Streams a second that had agreed to be refused rather than served badly, and "
        "were. More than a few: there is not enough capacity.",
        ((q.rate(c.DECISIONS, "outcome", _REFUSED), "{{outcome}}"),),
        "capacity-exhausted",
        unit="reqps",
        low_top=1,
    ),
)  # fmt: skip
_KNOWLEDGE = (
    Panel(
        "Age of the oldest report",
        "Age of the oldest engine report that the last decision went by, worst router. "
        "Around 0.1 s is normal; from the router's limit on it stops scoring.",
        ((f"max({q.series(c.REPORT_AGE_S, q.OF_APPLICATION)})", "oldest"),),
        "reports-stale",
        unit="s",
    ),
    Panel(
        "Ledger",
        "Streams that routers have sent and no report shows yet. It rises when engines "
        "report late.",
        ((q.now(c.LEDGER), "streams"),),
        "reports-stale",
        low_top=4,
        whole=True,
    ),
    Panel(
        "Oldest in the ledger",
        "How long the oldest of them has been on its way. Seconds: an engine does not say "
        "what it got.",
        ((f"max({q.series(c.LEDGER_AGE_S, q.OF_APPLICATION)})", "oldest"),),
        "reports-stale",
        unit="s",
    ),
)
_FLEET = (
    Panel(
        "Streams by replica",
        "Streams in each engine. Lines that go together: the router spreads the load.",
        ((q.now(c.ACTIVE, "replica"), "{{replica}}"),),
        "reports-stale",
        low_top=4,
        whole=True,
    ),
    Panel(
        "Imbalance",
        "Most streams in a replica by the mean, and the same of KV memory. 1 is even; "
        "above 2 the router does not see something. Up to four streams a replica, and a "
        "quarter of the memory, it says 1.",
        (
            (_imbalance(q.now(c.ACTIVE, "replica"), 4), "streams"),
            (_imbalance(q.kv_share("replica"), 0.25), "KV memory"),
        ),
        "reports-stale",
        low_top=2,
    ),
    Panel(
        "Mean QoE by replica",
        "Mean QoE of the streams that ended on each replica. One far below the others: "
        "look at that machine.",
        ((q.mean(c.QOE_SUM, c.FINISHED, "replica"), "{{replica}}"),),
        "readers-suffer",
        top=1,
    ),
)
_SIZE = (
    Panel(
        "Replicas wanted and healthy",
        "What the autoscaler or the configuration wants, and what Serve finds healthy.",
        (
            (q.now(q.SERVE_HEALTHY, "", q.REPLICAS), "healthy"),
            (q.wanted(), "wanted"),
        ),
        "replica-unhealthy",
        width=12,
        low_top=4,
        whole=True,
    ),
    Panel(
        "Tokens",
        "Tokens a second that all engines generate: your throughput.",
        ((q.by("", f"rate({q.VLLM_TOKENS}[{q.DASHBOARD_WINDOW}])"), "tokens"),),
        "capacity-exhausted",
        unit="suffix:tokens/s",
        width=12,
        low_top=10,
    ),
)
ROWS = {"Decisions": _ROUTER, "Knowledge": _KNOWLEDGE, "Fleet": _FLEET, "Size": _SIZE}
