"""The page of a comparison of routers: what was asked of ours, what it gives, where not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.fleet.results import FleetSummary
from bench.markdown import number, pipe_table
from bench.routing.cells import BASELINES, BY_NAME, PROFILE, QOE, REPLICAS
from bench.routing.results import Metric, RoutingResult, Table

COLUMNS: dict[str, tuple[Metric, int]] = {
    "mean QoE": (lambda run: run.mean_qoe_area, 3),
    "p5 QoE": (lambda run: run.p5_qoe_area, 3),
    "QoE ≥ 0.95": (lambda run: run.share_qoe_area_ge_0_95, 3),
    "delay QoE": (lambda run: run.mean_qoe_delay, 3),
    "TTFT p99, s": (lambda run: run.ttft_s.p99, 1),
    "stall p99, s": (lambda run: run.stall_s.p99, 2),
    "tokens/s": (lambda run: run.tokens_per_s, 0),
    "demand CV": (lambda run: run.imbalance.demand_cv, 3),
}

NOT_ASKED = "not asked: pow2 is not below"

ELSEWHERE = """The router's other goals have pages of their own:
[what a decision takes](../measuring.md#the-planners-cost),
[the fewest replicas for a load](plan.md), [autoscalers](scaling.md),
[ways to a client](paths.md), and
[how long 64 replicas take to replay](../measuring.md#many-replicas)."""


def _mean(run: FleetSummary) -> float:
    return run.mean_qoe_area


def _p5(run: FleetSummary) -> float:
    return run.p5_qoe_area


def _share(run: FleetSummary) -> float:
    return run.share_qoe_area_ge_0_95


def page(result: RoutingResult) -> str:
    """The whole page, in markdown."""
    table = Table(result.rows)
    sections = [
        _header(result),
        "![p5 and share of perfect streams by router](fleet.png)",
        "## What was asked for",
        pipe_table(("target", "found", ""), _targets(table), texts=3),
        ELSEWHERE,
        *(_scenario(table, name) for name in BY_NAME),
        _failures(result),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(result: RoutingResult) -> str:
    lengths = result.lengths or "a lognormal: the file was not there"
    made_by = result.environment.made_by(result.command)
    return (
        f"# Routers, replayed\n\n{made_by} {len(result.rows):,} runs of {REPLICAS} real "
        f"schedulers each ({PROFILE}) behind the real routing code in virtual time, "
        f"{result.duration_s:g} s of arrivals without bursts, lengths from {lengths}. All "
        "routers get the same requests of a seed; means are over the seeds, and ± is the "
        "standard error of a mean gain. p5 of one run rests on some sixty streams: look at "
        "the single seeds in the picture."
    )


def _targets(table: Table) -> Iterable[tuple[str, str, str]]:
    for baseline in BASELINES:
        gains = table.gains("equal", QOE, baseline, _p5)
        won = sum(gain > 0 for gain in gains)
        yield (
            f"equal: p5 above {baseline} on the mean and on four seeds of five",
            f"{_signed(gains)}, {won} of {len(gains)} seeds",
            _verdict(_mean_of(gains) > 0 and won >= 0.8 * len(gains)),
        )
    for name in ("mixed speeds", "one slow"):
        gain, best = _over_the_best(table, name, _share)
        yield (
            f"{name}: share of streams ≥ 0.95 is 0.05 above the best baseline's",
            f"{gain:+.3f} over {best}" if best else "–",
            _verdict(gain >= 0.05),
        )
        ours, pow2 = (table.mean(name, router, _p5) for router in (QOE, "pow2"))
        asked = pow2 is None or pow2 < 0.9
        yield (
            f"{name}: p5 ≥ 0.95 where pow2 is below 0.9",
            f"{number(ours)}, pow2 {number(pow2)}",
            _verdict(ours is not None and ours >= 0.95) if asked else NOT_ASKED,
        )
    for name in ("reports 2 s old", "20 % lost"):
        gains = table.gains(name, QOE, QOE, _mean, base="equal")
        yield (
            f"{name}: mean QoE within 0.005 of fresh ones",
            _signed(gains),
            _verdict(_mean_of(gains) >= -0.005),
        )


def _over_the_best(table: Table, scenario: str, metric: Metric) -> tuple[float, str]:
    means = {b: table.mean(scenario, b, metric) for b in BASELINES}
    found = {name: value for name, value in means.items() if value is not None}
    ours = table.mean(scenario, QOE, metric)
    if ours is None or not found:
        return -np.inf, ""
    best = max(found, key=lambda name: found[name])
    return ours - found[best], best


def _mean_of(gains: list[float]) -> float:
    return float(np.mean(gains)) if gains else -np.inf


def _signed(gains: list[float]) -> str:
    if not gains:
        return "–"
    mean = f"{_mean_of(gains):+.3f}"
    if len(gains) == 1:
        return mean
    return f"{mean} ± {np.std(gains, ddof=1) / np.sqrt(len(gains)):.3f}"


def _verdict(reached: bool) -> str:
    return "reached" if reached else "**missed**"


def _scenario(table: Table, name: str) -> str:
    scenario = BY_NAME[name]
    ran = [r for r in scenario.routers if table.values(name, r, _mean)]
    if not ran:
        return ""
    rows = [
        (
            router,
            *(
                number(table.mean(name, router, m), digits)
                for m, digits in COLUMNS.values()
            ),
        )
        for router in ran
    ]
    seeds = len(table.values(name, ran[0], _mean))
    head = (
        f"## {name}\n\n{scenario.title[0].upper()}{scenario.title[1:]}: "
        f"{scenario.rate:g} requests/s, {scenario.scheduler}, "
        f"{seeds} seed{'s' if seeds > 1 else ''}."
    )
    return f"{head}\n\n{pipe_table(('router', *COLUMNS), rows)}"


def _failures(result: RoutingResult) -> str:
    failures = sum(row.plan_failures for row in result.rows)
    said = [f"- {name}: {reason}" for name, reason in result.failed.items()]
    if failures:
        said.append(f"- {failures:,} steps could not be planned and were plain vLLM.")
    return "## What failed\n\n" + "\n".join(said) if said else ""
