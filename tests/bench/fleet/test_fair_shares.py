"""Each engine shares itself; behind the real router that shares the fleet."""

from __future__ import annotations

import numpy as np

from bench.fleet.arguments import Fleet
from bench.fleet.book import Book
from bench.fleet.fleet import FleetRun
from bench.fleet.load import LoadColumns
from bench.fleet.replica import ReplicaMaker
from bench.fleet.routers import Routers
from bench.fleet.share import Share
from bench.fleet.timeline import Clock
from bench.load import PlannedStream
from bench.replay.cost import StepCost
from bench.replay.virtual_config import EngineSize
from qoe import Expectation
from qoe.tenant import Tenant
from scheduler.settings import SchedulerSettings

READER = Expectation(1.0, 4.8)
# Twenty streams fit into an engine, and it serves four a second.
SIZE = EngineSize(kv_tokens=4000, max_num_seqs=64)
COST = StepCost(base_s=0.02, per_stream_s=5e-4, per_prefill_token_s=2e-4)
CAPACITY_PER_S = 4.0
CONTENDED_S = 30.0
ONE_ENGINE = 1


def streams(tenant: Tenant, rate_per_s: float, seed: int) -> list[PlannedStream]:
    rng = np.random.default_rng([seed, 1])
    at_s = rng.uniform(0, CONTENDED_S, int(rate_per_s * CONTENDED_S)).tolist()
    sizes = rng.integers(50, 250, (len(at_s), 2)).tolist()
    return [
        PlannedStream(at, prompt, output, READER, tenant=tenant)
        for at, (prompt, output) in zip(at_s, sizes, strict=True)
    ]


class Replay:
    """What became of a load, stream by stream, in order of arrival."""

    def __init__(self, load: list[PlannedStream], replicas: int, policy: str = "andes"):
        self.load = LoadColumns(sorted(load, key=lambda stream: stream.arrival_s))
        self.book = Book(self.load, 0, None)
        clock = Clock()
        FleetRun(
            Fleet(replicas=replicas, direct_streaming=True),
            Share(ReplicaMaker(SchedulerSettings(policy=policy), SIZE, COST, ())),
            Routers("qoe", 1, clock, loss=0.0, seed=0, sees_ends=False),
            self.load,
            range(len(self.load)),
            self.book,
            clock,
            None,
        ).run()

    def qoe(self, *tenants: Tenant) -> np.ndarray:
        return self.book.scores.area[self._of(*tenants)]

    def _of(self, *tenants: Tenant) -> np.ndarray:
        return np.array([i for i, s in enumerate(self.load) if s.tenant in tenants])


def beside_a_hog(replicas: int, seed: int, policy: str) -> np.ndarray:
    """QoE of five who each want an eighth of the fleet, one a tenth of the hog."""
    hog, others = Tenant("hog"), [Tenant(f"other-{i}") for i in range(5)]
    rate_per_s = CAPACITY_PER_S * replicas / 8
    load = streams(hog, 10 * rate_per_s, seed)
    for number, other in enumerate(others):
        load += streams(other, rate_per_s, 100 * seed + number + 1)
    return Replay(load, replicas, policy).qoe(*others)


def test_a_hog_takes_no_more_of_a_fleet_than_of_an_engine() -> None:
    fcfs, andes = (beside_a_hog(3, 1, policy) for policy in ("fcfs", "andes"))
    alone = beside_a_hog(ONE_ENGINE, 1, "andes")
    assert np.percentile(andes, 5) >= np.percentile(fcfs, 5)
    assert andes.mean() >= alone.mean() - 0.05
    # Without names they share the fate of the crowd, at 0.43 more than fcfs.
    assert andes.mean() >= fcfs.mean() + 0.5
