"""Every metric of Andes: name, meaning, labels and buckets. No Ray, no vLLM, no Prometheus.

Whoever counts, publishes, draws or alerts takes the names from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from types import MappingProxyType
from typing import Literal

from qoe.expectation import PROFILES, Expectation
from telemetry.report import SLACK_GRID_S, TARGET_QOE

Kind = Literal["counter", "gauge", "histogram", "info"]
Source = Literal["engine", "router", "bench"]

# Ray puts this before every name; what runs outside Ray has none.
RAY_PREFIX = "ray_"
CUSTOM = "custom"
CLASSES = (*PROFILES, CUSTOM)
CLASS_LABEL = "qoe_class"
BY_CLASS: Mapping[str, tuple[str, ...]] = MappingProxyType({CLASS_LABEL: CLASSES})
# Targets that somebody asks the share above of lie on an edge. A node keeps one list of
# buckets for each name: it must never depend on a configuration.
QOE_BOUNDS = (0.5, 0.7, 0.8, 0.9, TARGET_QOE, 1.0)

_CLASS_OF = {(p.expectation.ttft_s, p.expectation.tds): n for n, p in PROFILES.items()}


def class_of(expectation: Expectation) -> str:
    """The profile whose numbers these are, whatever the reader's weight; else `CUSTOM`."""
    return _CLASS_OF.get((expectation.ttft_s, expectation.tds), CUSTOM)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, as it is counted.

    Attributes:
        name: Without Ray's prefix and without the `_total` of a counter.
        kind: An info is a gauge of 1 whose labels say something.
        source: What publishes it: an engine's replica, a router, or `andes bench`.
        description: For a person who sees it for the first time.
        labels: Our labels and the closed set of values of each; an info's are open.
        bounds: Upper edges of the buckets, the last one the highest value there is.
        lapses: A gauge that says nothing while nobody is there to measure it on.
    """

    name: str
    kind: Kind
    source: Source
    description: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    lapses: bool = False

    @property
    def exposed(self) -> str:
        """Its name in Prometheus; a histogram's without `_bucket`, `_sum` and `_count`."""
        prefix = "" if self.source == "bench" else RAY_PREFIX
        return prefix + self.name + ("_total" if self.kind == "counter" else "")

    @property
    def tags(self) -> tuple[dict[str, str], ...]:
        """Label values of each series, in the order in which values are told."""
        if self.kind == "info":
            return ({},)
        keys = tuple(self.labels)
        return tuple(
            dict(zip(keys, v, strict=True)) for v in product(*self.labels.values())
        )

    @property
    def num_values(self) -> int:
        """How many numbers tell it all; of a histogram, one for each bucket alone."""
        return len(self.tags) * (len(self.bounds) + 1 if self.kind == "histogram" else 1)

    @property
    def num_series(self) -> int:
        """Series in Prometheus for each process that publishes it, at most."""
        # Beside its buckets a histogram has +Inf, a sum and a count.
        per_tag = len(self.bounds) + 3 if self.kind == "histogram" else 1
        return len(self.tags) * per_tag


def _by_class(name: str, kind: Kind, description: str, lapses: bool = False) -> Metric:
    return Metric(name, kind, "engine", description, BY_CLASS, lapses=lapses)


QOE = Metric(
    "andes_qoe_score",
    "histogram",
    "engine",
    "QoE of finished streams, 0 to 1. Its _sum is not exact: take the mean from "
    "andes_qoe_score_exact_sum.",
    BY_CLASS,
    QOE_BOUNDS,
)
QOE_SUM = _by_class(
    "andes_qoe_score_exact_sum",
    "counter",
    "Sum of the QoE of finished streams; by andes_streams_finished it is their mean.",
)
FINISHED = _by_class(
    "andes_streams_finished",
    "counter",
    "Streams that ended, also those whose reader left and those that were refused.",
)
TTFT_RATIO_SUM = _by_class(
    "andes_ttft_expectation_ratio_sum",
    "counter",
    "Sum over finished streams of time to first token by the expected one; without one, "
    "of the time waited.",
)
PACE_RATIO_SUM = _by_class(
    "andes_pace_expectation_ratio_sum",
    "counter",
    "Sum over finished streams of the pace of tokens by the reader's, at most 1.",
)
STALL_S = _by_class(
    "andes_stall_seconds",
    "counter",
    "Seconds in which readers who had begun had nothing left to read.",
)
ACTIVE = _by_class("andes_streams_active", "gauge", "Streams in the engine now.")
BELOW_TARGET = _by_class(
    "andes_streams_below_target",
    "gauge",
    f"Streams in the engine now whose QoE so far is below {TARGET_QOE}.",
)
SLACK_S = _by_class(
    "andes_buffer_slack_seconds",
    "gauge",
    "Seconds until the reader notices that nothing comes, 5th percentile of the streams in "
    "the engine; negative once noticed.",
    lapses=True,
)

REFUSED = Metric(
    "andes_streams_refused",
    "counter",
    "engine",
    "Streams that were refused: no first token could come within their patience, and they "
    "ended with QoE 0; or the engine was full, and never had them.",
    {"reason": ("patience", "full")},
)
PREEMPTIONS = Metric(
    "andes_preemptions",
    "counter",
    "engine",
    "Streams that lost their KV memory, by who decided: the plan, or vLLM out of memory.",
    {"reason": ("plan", "memory")},
)
LEVERS = Metric(
    "andes_lever_plans",
    "counter",
    "engine",
    "Plans that withheld a waiting stream, or limited the prompt tokens of a step.",
    {"lever": ("withhold", "limit_prefill")},
)
RESUMES = Metric(
    "andes_resumes", "counter", "engine", "Preempted streams that got KV memory again."
)
RESUMED_TOKENS = Metric(
    "andes_resume_recomputed_tokens",
    "counter",
    "engine",
    "Tokens that resumed streams had to compute again: what preemptions cost.",
)
PLANS = Metric("andes_plans", "counter", "engine", "Times the scheduler looked for a plan.")
PLAN_S = Metric(
    "andes_plan_seconds", "counter", "engine", "Seconds that took, which no token came in."
)
FALLBACKS = Metric(
    "andes_fallback_steps",
    "counter",
    "engine",
    "Times that Andes failed and the engine went on as plain vLLM.",
)
PLAN_OVERRUNS = Metric(
    "andes_plan_overruns",
    "counter",
    "engine",
    "Plans that took too long, so that the engine went on as plain vLLM for a while.",
)
STEPS = Metric(
    "andes_steps", "counter", "engine", "Engine steps that took up the last one."
)
STEP_S = Metric("andes_step_seconds", "counter", "engine", "Seconds of those steps.")
STEP_ERROR_S = Metric(
    "andes_step_time_error_seconds",
    "counter",
    "engine",
    "Sum of the absolute differences between predicted and real time of those steps.",
)
KV_BLOCKS = Metric(
    "andes_kv_blocks",
    "gauge",
    "engine",
    "KV cache blocks: those that streams hold, and all of the engine.",
    {"state": ("used", "total")},
)
KV_PREEMPTIBLE = Metric(
    "andes_kv_preemptible_blocks",
    "gauge",
    "engine",
    "Blocks of running streams whose reader has at least so many seconds left to read.",
    {"slack_s": tuple(f"{s:g}" for s in SLACK_GRID_S)},
)
STREAMS = Metric(
    "andes_streams",
    "gauge",
    "engine",
    "Streams that hold KV memory, that wait for their first, and that lost it.",
    {"state": ("running", "waiting", "preempted")},
)
INFO = Metric(
    "andes_engine_info",
    "info",
    "engine",
    "1; its labels say which scheduler this replica runs.",
    {"policy": (), "version": ()},
)

DECISIONS = Metric(
    "andes_router_decisions",
    "counter",
    "router",
    "Streams by how they were placed (scored; in turn for want of reports, or after an "
    "error) or not (held, shed).",
    {"outcome": ("scored", "no_report", "error", "held", "shed")},
)
REPORT_AGE_S = Metric(
    "andes_router_oldest_report_seconds",
    "gauge",
    "router",
    "Age of the oldest report at the last decision; an idle engine's is 0.",
    lapses=True,
)
LEDGER = Metric(
    "andes_router_ledger_streams",
    "gauge",
    "router",
    "Streams sent that no report shows yet.",
)
LEDGER_AGE_S = Metric(
    "andes_router_ledger_oldest_seconds",
    "gauge",
    "router",
    "How long the oldest of them has been on its way.",
)

BENCH_REQUESTS = Metric(
    "andes_bench_requests",
    "counter",
    "bench",
    "Requests of a load: sent, ended well, failed, and refused since patience was over.",
    {"outcome": ("sent", "finished", "failed", "refused")},
)
BENCH_TOKENS = Metric(
    "andes_bench_tokens", "counter", "bench", "Tokens that the clients of a load received."
)

ENGINE_METRICS = (
    *(QOE, QOE_SUM, FINISHED, TTFT_RATIO_SUM, PACE_RATIO_SUM, STALL_S),
    *(ACTIVE, BELOW_TARGET, SLACK_S, REFUSED),
    *(PREEMPTIONS, LEVERS, RESUMES, RESUMED_TOKENS, PLANS, PLAN_S),
    *(FALLBACKS, PLAN_OVERRUNS),
    *(STEPS, STEP_S, STEP_ERROR_S, KV_BLOCKS, KV_PREEMPTIBLE, STREAMS, INFO),
)
ROUTER_METRICS = (DECISIONS, REPORT_AGE_S, LEDGER, LEDGER_AGE_S)
BENCH_METRICS = (BENCH_REQUESTS, BENCH_TOKENS)
CATALOGUE = (*ENGINE_METRICS, *ROUTER_METRICS, *BENCH_METRICS)
