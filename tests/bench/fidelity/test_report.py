"""The comparison on paper: errors, misses and the page."""

import msgspec
import pytest

from bench.fidelity.arguments import FidelityArguments
from bench.fidelity.report import cells, describe, markdown, misses
from bench.fidelity.results import METRICS, Constants, Fidelity, Outcome, Pair
from bench.load import PlannedStream
from bench.results import Environment
from qoe import Expectation

STREAMS = [PlannedStream(0.5 * i, 100, 20, Expectation(1.0, 5.0)) for i in range(10)]
CONSTANTS = Constants(
    base_s=1e-3,
    per_stream_s=1e-4,
    per_context_token_s=0.0,
    per_prefill_token_s=1e-5,
    per_prefill_token2_s=0.0,
)
(AREA, *_) = METRICS
TTFT = next(metric for metric in METRICS if metric.name.startswith("TTFT mean"))


def outcome(ttft_s: float) -> Outcome:
    times = [[s.arrival_s + ttft_s + 0.1 * n for n in range(20)] for s in STREAMS]
    return Outcome.of(STREAMS, times, preemptions=0)


def pair(policy: str, repeat: int, replayed_ttft_s: float) -> Pair:
    return Pair(
        policy=policy,
        repeat=repeat,
        constants=CONSTANTS,
        slowdown=1.05,
        before_ms=2.0,
        after_ms=2.5,
        speed=1.1,
        plan_failures=0,
        real=outcome(2.0),
        replayed=outcome(replayed_ttft_s),
        replayed_at_speed=outcome(2.0),
    )


def fidelity(*pairs: Pair) -> Fidelity:
    arguments = FidelityArguments()
    return Fidelity(
        command="andes fidelity",
        load=describe(arguments, STREAMS),
        arguments=arguments.published(),
        environment=Environment(commit="a" * 40, dirty=True, python="3", cpu_count=2),
        pairs=pairs,
    )


def test_an_outcome_is_scored_from_the_arrival_of_each_stream() -> None:
    real = outcome(2.0)
    assert real.ttft_s.mean == pytest.approx(2.0)
    assert (real.requests, real.tokens) == (10, 200)
    assert real.makespan_s == pytest.approx(4.5 + 2.0 + 1.9)


def test_the_error_is_the_replays_over_the_engines() -> None:
    assert TTFT.error(outcome(2.0), outcome(2.5)) == pytest.approx(0.25)
    assert TTFT.error(outcome(2.0), outcome(1.5)) == pytest.approx(-0.25)


def test_a_median_beyond_the_target_is_said_to_miss_it() -> None:
    good = [pair("fcfs", n, 2.1) for n in (1, 2, 3)]
    bad = [pair("andes", n, ttft_s) for n, ttft_s in ((1, 2.1), (2, 2.6), (3, 2.7))]
    said = misses(fidelity(*good, *bad))
    assert any("andes" in line and "TTFT mean" in line and "30%" in line for line in said)
    assert not any("fcfs" in line for line in said)


def test_the_page_has_a_row_for_each_number_and_says_who_made_it() -> None:
    result = fidelity(pair("fcfs", 1, 2.1), pair("andes", 1, 2.1))
    page = markdown(result)
    assert len(list(cells(result))) == 2 * len(METRICS)
    assert "+5.0% [+5.0%, +5.0%]" in page
    assert "Every median is within the 10%" in page
    assert "2.00 → 2.50" in page
    assert "`andes fidelity` at commit aaaaaaaaaaaa with local changes, 2 CPU" in page
    assert f"{AREA.name} (≤ 10%)" in page


def test_a_comparison_survives_its_json() -> None:
    result = fidelity(pair("fcfs", 1, 2.1), pair("andes", 1, 2.1))
    read = msgspec.json.decode(msgspec.json.encode(result), type=Fidelity)
    assert list(read.pairs) == list(result.pairs)
    assert "/" not in str(read.arguments["out"])
