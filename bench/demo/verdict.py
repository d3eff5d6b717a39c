"""Whether the machine was steady enough to tell, and then what it told."""

from __future__ import annotations

import numpy as np

from bench.demo.comparison import POLICIES, Comparison
from bench.report import MAX_P99_SEND_LAG_S
from bench.results import Summary

# By how much the halves of the probe may differ.
MAX_CHANGE = 0.25
UNSTEADY = "The machine was too unsteady to tell"


def unsteady(result: Comparison) -> list[str]:
    """Why the runs say more about the machine than about the schedulers; often nothing."""
    reasons = []
    lag_s = max(run.summary.send_lag_s.p99 for run in result.runs)
    if lag_s > MAX_P99_SEND_LAG_S:
        reasons.append(
            f"requests left up to {lag_s:.2f} s late (p99 of the worst run; at most "
            f"{MAX_P99_SEND_LAG_S:g} s may be)"
        )
    if result.probe is not None and result.probe.change > MAX_CHANGE:
        first, second = result.probe.halves_tokens_per_s
        reasons.append(
            f"the probe saw {first:,.0f} and then {second:,.0f} tokens/s (they may differ "
            f"by {MAX_CHANGE:.0%})"
        )
    fcfs, andes = (result.values(policy, _mean_qoe) for policy in POLICIES)
    apart = abs(float(np.median(andes) - np.median(fcfs)))
    spread = max(fcfs) - min(fcfs)
    if spread > apart:
        reasons.append(
            f"the mean area QoE of fcfs alone differed by {spread:.3f} from pair to pair, "
            f"and that of andes from it by {apart:.3f}"
        )
    return reasons


def verdict(result: Comparison) -> str:
    """One sentence: the ratio, or why there is none."""
    reasons = unsteady(result)
    if reasons:
        return f"{UNSTEADY}: {'; '.join(reasons)}."
    fcfs, andes = (np.median(result.values(policy, _mean_qoe)) for policy in POLICIES)
    ratios = result.ratios(_mean_qoe)
    said = (
        f"Mean area QoE: {fcfs:.3f} under fcfs, {andes:.3f} under andes, "
        f"{np.median(ratios):.2f}× in the median pair."
    )
    alone = " One pair does not show how far runs differ by themselves."
    return said + alone if len(ratios) == 1 else said


def how_it_was_set(result: Comparison) -> str:
    """One sentence or two: what was probed, and which rate was chosen."""
    if result.probe is None or result.rate is None:
        return "The rate was given, not chosen."
    said = (
        f"The machine served {result.probe.tokens_per_s:,.0f} tokens/s, "
        f"{result.probe.requests_per_s:.2f} requests/s, when probed; {result.rate:g} a "
        "second were sent, for fcfs to fail some readers and serve others."
    )
    if result.corrected is not None:
        tried = result.corrected
        said += (
            f" Corrected once: at {tried.rate:g} a second the mean area QoE of fcfs was "
            f"{tried.mean_qoe_area:.3f}."
        )
    return said


def _mean_qoe(summary: Summary) -> float:
    return summary.mean_qoe_area
