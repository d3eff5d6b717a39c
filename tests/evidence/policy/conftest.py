from collections.abc import Iterable
from zlib import crc32

import pytest

from bench.results import Environment
from bench.scores import Quality, Stall, Tds, Ttft
from evidence.policy.jobs import BoundJob, Contender, Job, Load, RateJob, RunJob
from evidence.policy.results import BoundRow, Evidence, Rate, Row, Run

QOE = {"fcfs": 0.3, "andes-paper": 0.7, "andes": 0.8}


class Make:
    """Rows made by hand; test modules cannot import from a conftest."""

    @staticmethod
    def run(load: Load, contender: Contender, seed: int = 0, **fields) -> Run:
        """A run whose every quality is 0.5, but for `fields`; of its own delivery times."""
        quality = {
            "mean_qoe_area": 0.5,
            "p5_qoe_area": 0.5,
            "share_qoe_area_ge_0_95": 0.5,
            "mean_qoe_delay": 0.5,
            "p5_qoe_delay": 0.5,
            "share_qoe_delay_ge_0_95": 0.5,
            "share_never_late": 0.5,
            "ttft_s": Ttft(1.0, 1.0, 5.0),
            "stall_s": Stall(0.1, 1.0, 2.0),
            "tds": Tds(20.0),
            "tokens_per_s": 1000.0,
            "requests": 100,
        }
        job = RunJob(load, seed, contender)
        given = {
            "preemptions_per_request": 0.5,
            "plan_failures": 0,
            "long_waits": (0.1, 0.2, 0.3, 0.4),
            "digest": str(crc32(repr(job).encode())),
            "wall_s": 1.0,
        }
        own = {key: fields.pop(key) for key in list(fields) if key in given}
        return Run(job=job, quality=Quality(**(quality | fields)), **(given | own))

    @staticmethod
    def bound(load: Load, share: float, seed: int = 0) -> BoundRow:
        return BoundRow(job=BoundJob(load, seed), share=share, gap=0.0, wall_s=1.0)

    @classmethod
    def row(cls, job: Job) -> Row:
        """What each job could have come to, by the name of its policy."""
        if isinstance(job, RateJob):
            return Rate(job=job, requests_per_s=2.0, requests=100)
        if isinstance(job, BoundJob):
            return cls.bound(job.load, 0.9, job.seed)
        qoe = QOE.get(job.contender.policy, 0.6) + 0.01 * job.seed
        area = {"mean_qoe_area": qoe, "share_never_late": qoe, "mean_qoe_delay": qoe}
        return cls.run(job.load, job.contender, job.seed, **area)

    @staticmethod
    def evidence(rows: Iterable[Row], **fields) -> Evidence:
        rows = list(rows)
        rates = sum(isinstance(row, Rate) for row in rows)
        given = {
            "command": "andes evidence",
            "environment": Environment(
                commit="abc" * 8, dirty=False, python="3.11", cpu_count=2
            ),
            "lengths": ["azure_conv.csv"],
            "scale": 1.0,
            "planned": len(rows) - rates,
            "failed": {},
            "rows": rows,
        }
        return Evidence(**(given | fields))


@pytest.fixture
def make() -> type[Make]:
    return Make
