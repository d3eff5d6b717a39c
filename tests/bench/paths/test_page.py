from typing import Any

import pytest

from bench.paths.cpu import role_of, used_between
from bench.paths.page import page
from bench.paths.results import WAYS, PathsResult, WayRun
from bench.results import Environment, SendLag, Summary
from bench.scores import Stall, Tds, Ttft


def summary(ttft_s: float, tokens_per_s: float) -> Summary:
    return Summary(
        mean_qoe_area=1.0,
        p5_qoe_area=1.0,
        share_qoe_area_ge_0_95=1.0,
        mean_qoe_delay=1.0,
        p5_qoe_delay=1.0,
        share_qoe_delay_ge_0_95=1.0,
        ttft_s=Ttft(ttft_s, ttft_s, 2 * ttft_s),
        stall_s=Stall(0.0, 0.0, 0.0),
        tds=Tds(90.0),
        tokens_per_s=tokens_per_s,
        requests=10,
        errors={},
        short=0,
        clipped=0,
        cancelled=0,
        makespan_s=10.0,
        send_lag_s=SendLag(0.0, 0.0),
    )


def result_of(*ttfts_s: float, **cpu_s: float) -> PathsResult:
    return PathsResult(
        command="andes paths",
        load="a load",
        environment=Environment(commit="abc", dirty=False, python="3.11", cpu_count=2),
        runs=[
            WayRun(way=way, round=number + 1, summary=summary(ttft_s, 400.0), cpu_s=cpu_s)
            for number, ttft_s in enumerate(ttfts_s)
            for way in WAYS
        ],
    )


def test_a_row_is_the_median_of_a_way_and_its_range() -> None:
    text = page(result_of(0.02, 0.01, 0.06, engine=8.0, router=1.0, proxy=3.0))
    (row,) = [line for line in text.splitlines() if line.startswith("| direct, qoe")]
    # 4,000 tokens in all.
    assert "| 20 [10, 60] | 40 [20, 120] | 90 [90, 90] | 400 [400, 400] " in row
    assert "| 1.00 [1.00, 1.00] | 2.00 [2.00, 2.00] | 0 [0, 0] |" in row
    assert "3 interleaved rounds" in text
    assert "Made by `andes paths` at commit abc" in text


@pytest.mark.parametrize(
    ("command_line", "role"),
    [
        ("VLLM::EngineCore", "engine"),
        ("ray::ServeReplica:andes:AndesServer:tiny-llama", "replica or ingress"),
        ("ray::ServeReplica:andes:LLMRouter", "router"),
        ("/lib/haproxy -db -f /tmp/haproxy-serve/0/haproxy.cfg", "proxy"),
        ("ray::ProxyActor", "proxy"),
        ("/usr/bin/python -m ray.dashboard", None),
    ],
)
def test_a_process_counts_for_what_it_does(command_line: str, role: Any) -> None:
    assert role_of(command_line) == role


def test_a_process_that_came_in_between_counts_and_one_that_went_takes_none_back() -> None:
    used = used_between(
        {"engine": 5.0, "proxy": 3.0}, {"engine": 7.0, "proxy": 1.0, "router": 2.0}
    )
    assert used == {"engine": 2.0, "proxy": 0.0, "router": 2.0}
