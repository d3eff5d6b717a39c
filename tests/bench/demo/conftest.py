"""Comparisons without a service: two schedulers, and what their runs are said to be."""

from collections.abc import Callable, Sequence

import pytest

from bench.demo.comparison import Comparison, Run
from bench.results import SendLag, Summary, environment
from bench.scores import Stall, Tds, Ttft


def summary_of(mean_qoe: float, lag_s: float) -> Summary:
    return Summary(
        mean_qoe_area=mean_qoe,
        p5_qoe_area=0.0,
        share_qoe_area_ge_0_95=0.5,
        mean_qoe_delay=0.9,
        p5_qoe_delay=0.8,
        share_qoe_delay_ge_0_95=0.5,
        ttft_s=Ttft(1.0, 0.5, 3.0),
        stall_s=Stall(0.0, 0.1, 0.2),
        tds=Tds(50.0),
        tokens_per_s=100.0,
        requests=10,
        errors={},
        short=0,
        clipped=0,
        cancelled=0,
        makespan_s=60.0,
        send_lag_s=SendLag(lag_s, 2 * lag_s),
    )


@pytest.fixture
def compared() -> Callable[..., Comparison]:
    """Builds one of mean area QoEs by pair; pairs alternate which comes first."""

    def build(
        fcfs: Sequence[float], andes: Sequence[float], lag_s: float = 0.001, **fields
    ) -> Comparison:
        measured = {"fcfs": fcfs, "andes": andes}
        runs = [
            Run(policy=policy, pair=pair + 1, summary=summary_of(by_pair[pair], lag_s))
            for pair in range(len(fcfs))
            for policy, by_pair in list(measured.items())[:: 1 if pair % 2 == 0 else -1]
        ]
        return Comparison(
            command="andes demo",
            load="a load",
            arguments={},
            environment=environment(),
            runs=runs,
            **fields,
        )

    return build
