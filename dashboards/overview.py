"""QoE overview: do readers get what they expect, and if not, who and since when."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.panels import Panel
from dashboards.rules import BURN_WINDOWS, burn_rate
from telemetry import catalogue as c

CLASS = c.CLASS_LABEL
UID, TITLE = "andes-qoe", "Andes: QoE overview"
TEXT = "Whether readers get their text as fast as they read it, by kind of reader."

_READERS = (
    Panel(
        "Streams well served",
        "Share of the streams that ended within the time shown whose QoE is above the "
        "target of 0.95. QoE is 1 when a reader never waited: the first word came in "
        "time and the rest came at least as fast as it is read. The objective is 99 %.",
        ((q.attainment("", q.HAS_READER, window=q.WHOLE_WINDOW), "all readers"),),
        "readers-suffer",
        unit="percentunit",
        width=6,
        kind="stat",
        limits=((0.95, "orange"), (0.99, "green")),
        below="red",
    ),
    Panel(
        "Below target now",
        "Share of the streams in the engines now whose QoE so far is below 0.95. It moves "
        "before the share of finished streams does. Above a tenth for minutes is bad.",
        (
            (
                f"{q.now(c.BELOW_TARGET)} / ({q.now(c.ACTIVE)} > 0) or vector(0)",
                "below target",
            ),
        ),
        "readers-below-target-now",
        unit="percentunit",
        width=6,
        kind="stat",
        limits=((0.1, "orange"), (0.5, "red")),
    ),
    Panel(
        "Error budget burn",
        "How many times faster than allowed streams end below target, over an hour. At 1 "
        "the budget of 1 % lasts exactly as long as it should; at 14 it is gone within two "
        "days, and somebody is woken.",
        ((burn_rate("1h"), "1 h"),),
        "readers-suffer",
        width=6,
        kind="stat",
        limits=((1, "orange"), (14.4, "red")),
    ),
    Panel(
        "Replicas",
        "Replicas that Serve wants and those that are healthy. Fewer healthy ones than "
        "wanted for minutes: one does not start or has died.",
        (
            (q.now(q.SERVE_HEALTHY, "", q.REPLICAS), "healthy"),
            (q.wanted(), "wanted"),
        ),
        "replica-unhealthy",
        width=6,
        kind="stat",
        whole=True,
    ),
)
_SCORES = (
    Panel(
        "Mean QoE by class",
        "Mean QoE of the streams that ended, exact, by what their reader expects: reading, "
        "listening, none (nobody watches) or custom. 1 is perfect.",
        ((q.mean(c.QOE_SUM, c.FINISHED, CLASS), "{{qoe_class}}"),),
        "readers-suffer",
        top=1,
    ),
    Panel(
        "Well served by class",
        "Share of the streams that ended with QoE above 0.95, by class. The objective "
        "is 99 %.",
        ((q.attainment(CLASS), "{{qoe_class}}"),),
        "readers-suffer",
        unit="percentunit",
        top=1,
        limits=((0.99, "green"),),
        below="transparent",
    ),
    Panel(
        "The worst and the median",
        "QoE that 5 % and 50 % of the streams stay below, estimated from buckets. A "
        "low 5 % under a high median: few suffer, and much.",
        ((q.quantile(0.05, c.QOE), "p5"), (q.quantile(0.5, c.QOE), "p50")),
        "readers-suffer",
        top=1,
    ),
)
_EXPECTATION = (
    Panel(
        "First token against expectation",
        "Mean time to first token by the time the reader expects it in. Above 1 "
        "readers wait for the first word longer than they are ready to.",
        ((q.mean(c.TTFT_RATIO_SUM, c.FINISHED, CLASS), "{{qoe_class}}"),),
        "readers-suffer",
        width=6,
        low_top=1,
        limits=((1, "orange"),),
        below="transparent",
    ),
    Panel(
        "Pace against expectation",
        "Mean pace of tokens by the reader's pace; what is faster counts as 1. Below 1 "
        "some readers get their text slower than they read.",
        ((q.mean(c.PACE_RATIO_SUM, c.FINISHED, CLASS), "{{qoe_class}}"),),
        "readers-suffer",
        width=6,
        top=1,
    ),
    Panel(
        "Stalls",
        "Seconds in which readers who had begun had nothing left to read, by stream that "
        "ended. More than a second is noticed.",
        ((q.mean(c.STALL_S, c.FINISHED, CLASS), "{{qoe_class}}"),),
        "readers-suffer",
        width=6,
        unit="s",
        low_top=1,
    ),
    Panel(
        "Refused",
        "Streams a second that were refused with HTTP 503: no first token could come "
        "within their patience, which counts as QoE 0, or the engine was full. Above 0 for "
        "long: too few replicas.",
        ((q.rate(c.REFUSED, "reason"), "{{reason}}"),),
        "capacity-exhausted",
        width=6,
        unit="suffix:/s",
        low_top=1,
    ),
)
_NOW = (
    Panel(
        "Streams now",
        "Streams in the engines, by class. Your load.",
        ((q.now(c.ACTIVE, CLASS), "{{qoe_class}}"),),
        "capacity-exhausted",
        width=6,
        low_top=4,
        whole=True,
    ),
    Panel(
        "Below target by class",
        "Streams in the engines whose QoE so far is below 0.95, by class.",
        ((q.now(c.BELOW_TARGET, CLASS, q.HAS_READER), "{{qoe_class}}"),),
        "readers-below-target-now",
        width=6,
        low_top=4,
        whole=True,
    ),
    Panel(
        "Buffered reading time",
        "Seconds until readers notice that nothing comes: the lowest 5 % of the streams on "
        "the worst replica. Below 0 they wait. Nothing is drawn while nobody reads.",
        (
            (
                f"min by ({CLASS}) ({q.series(c.SLACK_S, q.OF_APPLICATION, q.HAS_READER)})",
                "{{qoe_class}}",
            ),
        ),
        "readers-below-target-now",
        unit="s",
        width=6,
        bottom=None,
        low_top=10,
        limits=((0, "red"),),
        below="transparent",
    ),
    Panel(
        "Replicas where readers suffer",
        "The five replicas with most streams below target now. One far above the others: "
        "look at that machine, not at the load.",
        ((f"topk(5, {q.now(c.BELOW_TARGET, 'replica')})", "{{replica}}"),),
        "readers-below-target-now",
        width=6,
        kind="bargauge",
        limits=((1, "orange"), (10, "red")),
        whole=True,
    ),
)
_BURN = (
    Panel(
        "Error budget burn by window",
        "How many times faster than allowed streams end below target. Somebody is "
        "woken when both of a pair of windows are high: 5 min and 1 h above 14.4, 30 "
        "min and 6 h above 6.",
        tuple((burn_rate(window), window) for window in BURN_WINDOWS),
        "readers-suffer",
        width=24,
        low_top=2,
        limits=((1, "orange"), (14.4, "red")),
        below="transparent",
    ),
)
ROWS = {
    "Are readers well?": _READERS,
    "QoE of finished streams": _SCORES,
    "What they waited for": _EXPECTATION,
    "Now": _NOW,
    "Objective": _BURN,
}
