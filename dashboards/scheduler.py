"""Scheduler: which levers it uses, what they cost, and which scheduler does better."""

from __future__ import annotations

from dashboards import queries as q
from dashboards.panels import Panel
from telemetry import catalogue as c

UID, TITLE = "andes-scheduler", "Andes: scheduler"
TEXT = "What the scheduler of each engine does to keep readers reading, and what it costs."

_ALL_KV = q.now(c.KV_BLOCKS, "", 'state="total"')

_LEVERS = (
    Panel(
        "Levers",
        "Share of the plans that withhold a waiting stream, or limit prompt tokens. Both "
        "near 0: there is room for everybody.",
        ((f"{q.rate(c.LEVERS, 'lever')} / on () group_left () {q.rate(c.PLANS)}",
          "{{lever}}"),),
        "capacity-exhausted",
        unit="percentunit",
        low_top=0.1,
    ),
    Panel(
        "Preemptions",
        "Streams a second that lost their KV memory: because the plan gave it to somebody "
        "who needed it more, or because vLLM ran out. The second should be rare.",
        ((q.rate(c.PREEMPTIONS, "reason"), "{{reason}}"),),
        "thrash",
        unit="suffix:/s",
        low_top=1,
    ),
    Panel(
        "Preemptions by finished stream",
        "How often a stream loses its memory on its way. Above 3 the engine works for "
        "itself.",
        ((f"{q.rate(c.PREEMPTIONS)} / {q.rate(c.FINISHED)}", "preemptions"),),
        "thrash",
        low_top=1,
        limits=((3, "orange"),),
        below="transparent",
    ),
)  # fmt: skip
_COST = (
    Panel(
        "Resumes",
        "Preempted streams a second that got KV memory again. It follows preemptions; "
        "where it stays behind, streams wait for long.",
        ((q.rate(c.RESUMES), "resumes"),),
        "thrash",
        unit="suffix:/s",
        low_top=1,
    ),
    Panel(
        "Tokens computed again",
        "Tokens a second of resumed streams that the prefix cache no longer had, "
        "beside the tokens the engines generate. This is what preemptions cost.",
        (
            (q.rate(c.RESUMED_TOKENS), "computed again"),
            (q.by("", f"rate({q.VLLM_TOKENS}[{q.DASHBOARD_WINDOW}])"), "generated"),
        ),
        "thrash",
        unit="suffix:tokens/s",
        low_top=10,
    ),
    Panel(
        "Planning",
        "Part of the engines' step time that goes into planning. Above 2 % planning slows "
        "tokens down.",
        ((f"{q.rate(c.PLAN_S)} / {q.rate(c.STEP_S)}", "planning"),),
        "engine-falls-back",
        unit="percentunit",
        low_top=0.02,
        limits=((0.02, "orange"),),
        below="transparent",
    ),
)
_TRUST = (
    Panel(
        "Error of the step time model",
        "Mean difference between predicted and real time of a step, by the real one. The "
        "scheduler plans by this model: above 50 % for long it plans badly.",
        ((f"{q.rate(c.STEP_ERROR_S)} / {q.rate(c.STEP_S)}", "error"),),
        "engine-falls-back",
        unit="percentunit",
        low_top=0.5,
    ),
    Panel(
        "Step time",
        "Mean time of an engine step: everybody who runs gets a token in each.",
        ((q.mean(c.STEP_S, c.STEPS, "replica"), "{{replica}}"),),
        "capacity-exhausted",
        unit="s",
    ),
    Panel(
        "Steps without Andes",
        "Steps a second in which something of ours failed, or a plan took too long, so "
        "that the engine ran as plain vLLM. A failure is a bug; a plan takes long where "
        "the machine has no time for the engine.",
        (
            (q.rate(c.FALLBACKS, "replica"), "{{replica}} failed"),
            (q.rate(c.PLAN_OVERRUNS, "replica"), "{{replica}} too slow"),
        ),
        "engine-falls-back",
        unit="suffix:/s",
        low_top=1,
    ),
)
_MEMORY = (
    Panel(
        "KV memory",
        "Part of the KV memory that streams hold, by replica. Near 100 % somebody has to "
        "wait.",
        ((q.kv_share("replica"), "{{replica}}"),),
        "capacity-exhausted",
        unit="percentunit",
        top=1,
    ),
    Panel(
        "KV memory by slack",
        "Part of the KV memory of streams whose reader could go on reading for so many "
        "seconds without it. The fullest buffers give way first, once they are far enough "
        "ahead to pay for their resume.",
        ((f"{q.now(c.KV_PREEMPTIBLE, 'slack_s')} / on () group_left () {_ALL_KV}",
          "{{slack_s}} s"),),
        "capacity-exhausted",
        unit="percentunit",
        top=1,
    ),
    Panel(
        "Streams by state",
        "Streams that hold KV memory, wait for their first, or lost it and wait again.",
        ((q.now(c.STREAMS, "state"), "{{state}}"),),
        "capacity-exhausted",
        low_top=4,
        whole=True,
    ),
)  # fmt: skip
_ABLATION = (
    Panel(
        "Mean QoE by scheduler",
        "Mean QoE of the streams that ended, by policy and version of the scheduler. Two "
        "lines while two versions run side by side: the higher one is better.",
        ((f"{q.by_version(q.rate(c.QOE_SUM, 'replica'))} / "
          f"{q.by_version(q.rate(c.FINISHED, 'replica'))}", "{{policy}} {{version}}"),),
        "readers-suffer",
        width=12,
        top=1,
    ),
    Panel(
        "Replicas by scheduler",
        "How many replicas run which policy and version.",
        ((f"count by (policy, version) ({q.series(c.INFO, q.OF_APPLICATION)})",
          "{{policy}} {{version}}"),),
        "replica-unhealthy",
        width=12,
        low_top=4,
        whole=True,
    ),
)  # fmt: skip
ROWS = {
    "Levers": _LEVERS,
    "What they cost": _COST,
    "Can it be trusted?": _TRUST,
    "Memory": _MEMORY,
    "Which scheduler is better?": _ABLATION,
}
