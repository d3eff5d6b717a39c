"""Several tenants on the real scheduler, in virtual time, who want far more than it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.load import PlannedStream
from bench.replay.cost import StepCost
from bench.replay.engine import VirtualEngine
from bench.replay.virtual_config import EngineSize
from bench.scores import Scores
from qoe import Expectation
from qoe.tenant import NOBODY, Tenant
from scheduler.settings import SchedulerSettings

READER = Expectation(1.0, 4.8)
# Twenty streams fit, and four a second can be served.
SIZE = EngineSize(kv_tokens=4000, max_num_seqs=64)
COST = StepCost(base_s=0.02, per_stream_s=5e-4, per_prefill_token_s=2e-4)
CAPACITY_PER_S = 4.0
CONTENDED_S = 60.0


def streams(
    tenant: Tenant, load: float, seed: int, reader: Expectation = READER
) -> list[PlannedStream]:
    """Requests of one tenant: so many times what the engine can serve."""
    rng = np.random.default_rng(seed)
    at_s = np.sort(rng.uniform(0, CONTENDED_S, int(load * CAPACITY_PER_S * CONTENDED_S)))
    sizes = rng.integers(50, 250, (at_s.size, 2)).tolist()
    return [
        PlannedStream(at, prompt, output, reader, tenant=tenant)
        for at, (prompt, output) in zip(at_s.tolist(), sizes, strict=True)
    ]


class Replay:
    """What became of a load: QoE of each stream as `READER` sees it, and its tokens."""

    def __init__(self, load: list[PlannedStream], policy: str = "andes") -> None:
        self.scores = Scores([stream.arrival_s for stream in load])
        self.times_s: dict[int, np.ndarray] = {}
        self._load = load
        engine = VirtualEngine(
            SchedulerSettings(policy=policy), SIZE, cost=COST, on_done=self._done
        )
        engine.run(load)
        assert engine.scheduler.plan_failures_total == 0

    def _done(self, name: str, times: list[float]) -> None:
        self.times_s[int(name)] = np.array(times)
        after_s = np.array(times) - self._load[int(name)].arrival_s
        self.scores.score(int(name), after_s, READER)

    def qoe(self, *tenants: Tenant) -> np.ndarray:
        return self.scores.area[self._of(*tenants)]

    def contended_tokens(self, tenant: Tenant) -> int:
        """Tokens of prompts and answers while others wanted them too."""
        written = [self.times_s[i] < CONTENDED_S for i in self._of(tenant)]
        prompts = [self._load[i].input_tokens for i in self._of(tenant)]
        return sum(
            int(w.sum()) + prompt * bool(w.any())
            for w, prompt in zip(written, prompts, strict=True)
        )

    def _of(self, *tenants: Tenant) -> np.ndarray:
        return np.array([i for i, s in enumerate(self._load) if s.tenant in tenants])


@pytest.mark.parametrize("share", [1.0, 3.0])
def test_under_contention_tenants_get_their_shares(share: float) -> None:
    one, more = Tenant("one"), Tenant("more", share)
    replay = Replay(streams(one, 3.0, seed=1) + streams(more, 3.0, seed=2))
    got = replay.contended_tokens(more) / replay.contended_tokens(one)
    assert got == pytest.approx(share, rel=0.1)


def test_a_hog_takes_nothing_from_who_wants_little() -> None:
    hog, meek = Tenant("hog"), Tenant("meek")
    of_hog, of_meek = streams(hog, 2.0, seed=1), streams(meek, 0.2, seed=2)
    fcfs, andes = Replay(of_hog + of_meek, "fcfs"), Replay(of_hog + of_meek)
    alone = Replay(of_meek)
    assert np.percentile(andes.qoe(meek), 5) >= np.percentile(fcfs.qoe(meek), 5)
    assert andes.qoe(meek).mean() >= alone.qoe(meek).mean() - 0.05
    # What nobody else wants is the hog's.
    assert andes.qoe(hog).mean() >= fcfs.qoe(hog).mean()
    # Without names the meek share its crowd.
    nameless = Replay([replace(stream, tenant=NOBODY) for stream in of_hog + of_meek])
    assert nameless.scores.area[len(of_hog) :].mean() < andes.qoe(meek).mean() - 0.05


def test_lying_about_the_pace_does_not_pay() -> None:
    users = [Tenant(f"user-{i}") for i in range(20)]
    liar, others = users[0], users[1:]
    honest = [s for i, user in enumerate(users) for s in streams(user, 0.1, seed=i)]
    lie = Expectation(READER.ttft_s / 10, READER.tds * 10)
    told = [replace(s, expectation=lie) if s.tenant == liar else s for s in honest]
    truth, lied = Replay(honest), Replay(told)
    assert lied.qoe(liar).mean() <= truth.qoe(liar).mean() + 0.05
    assert lied.qoe(*others).mean() >= truth.qoe(*others).mean() - 0.02
