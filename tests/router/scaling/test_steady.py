"""A load that stays as it is moves nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.replica_load import ReplicaLoad
from router.scaling import ScalingSettings

LIMITS = ScalingSettings(min_replicas=1, max_replicas=10)


class Engines:
    """Replicas as a fluid: what arrives is computed, decoded in a batch, and leaves."""

    def __init__(
        self, idle: ReplicaLoad, *, rate: float, prompt: float, output: float, start_s: int
    ) -> None:
        self.idle = idle
        self.rate, self.prompt, self.output, self.start_s = rate, prompt, output, start_s
        self.streams: list[float] = []
        self.ready_at_s: list[int] = []
        self.accepted: list[float] = []

    def step(self, second: int, replicas: int, arrivals: float) -> list[ReplicaLoad]:
        """Let a second pass; streams of a replica that leaves go to the others."""
        while len(self.streams) < replicas:
            self.streams.append(0.0)
            self.accepted.append(0.0)
            self.ready_at_s.append(second + self.start_s if second else 0)
        left = sum(self.streams[replicas:])
        for column in (self.streams, self.accepted, self.ready_at_s):
            del column[replicas:]
        ready = [i for i in range(replicas) if self.ready_at_s[i] <= second]
        for i in ready:
            self.streams[i] += (arrivals + left) / len(ready)
            self.accepted[i] += arrivals / len(ready)
            self.streams[i] = max(self.streams[i] - self._finished(i, arrivals, ready), 0.0)
        return [self._load(i, arrivals / len(ready)) for i in ready]

    @property
    def context(self) -> float:
        return self.prompt + self.output / 2.0

    def _batch(self, i: int) -> float:
        return min(self.streams[i], self.idle.capacity_tokens / self.context)

    def _finished(self, i: int, arrivals: float, ready: list[int]) -> float:
        batch = self._batch(i)
        decoding = max(
            1.0 - arrivals / len(ready) * self.prompt * self.idle.prefill_s, 0.05
        )
        step_s = self.idle.base_s + self.idle.per_stream_s * batch
        return decoding * batch / step_s / self.output

    def _load(self, i: int, arrivals: float) -> ReplicaLoad:
        waiting = self.streams[i] - self._batch(i)
        # Those that come and go within the second are there at any moment of it.
        answer_s = self.prompt * self.idle.prefill_s + self.output * self.idle.base_s
        streams = max(self.streams[i], arrivals * answer_s)
        return self.idle._replace(
            streams=streams,
            demand_tokens=streams * self.context,
            below=waiting,
            short=waiting,
            backlog_tokens=waiting * self.prompt,
            output_tokens=self.output,
            accepted_total=self.accepted[i],
        )


constant_loads = st.fixed_dictionaries(
    {
        "rate": st.floats(0.1, 60.0),
        "prompt": st.floats(10.0, 600.0),
        "output": st.floats(20.0, 600.0),
        "start_s": st.integers(0, 60),
    }
)


def ups_after_downs(numbers: list[int]) -> int:
    steps = [b - a for a, b in pairwise(numbers) if a != b]
    return sum(a < 0 < b for a, b in pairwise(steps))


@settings(max_examples=15)
@given(load=constant_loads, replicas=st.integers(1, 10))
def test_a_constant_load_is_never_scaled_down_and_up_again(
    load: dict[str, Any],
    replicas: int,
    idle: ReplicaLoad,
    decisions: Callable[..., list[int]],
    changed_at: Callable[[list[int]], list[int]],
) -> None:
    engines = Engines(idle, **load)
    numbers = decisions(lambda s, n: engines.step(s, n, engines.rate), replicas, 900)
    assert ups_after_downs(numbers) == 0
    assert not changed_at(numbers[-100:])


@pytest.mark.parametrize("seed", range(4))
def test_chance_arrivals_of_a_constant_rate_do_not_make_it_flap(
    seed: int,
    idle: ReplicaLoad,
    decisions: Callable[..., list[int]],
    changed_at: Callable[[list[int]], list[int]],
) -> None:
    rng = random.Random(seed)
    engines = Engines(idle, rate=20.0, prompt=200.0, output=200.0, start_s=30)

    def loads(second: int, replicas: int) -> list[ReplicaLoad]:
        arrivals = sum(rng.expovariate(engines.rate) < 1.0 / 200.0 for _ in range(4200))
        return engines.step(second, replicas, arrivals)

    numbers = decisions(loads, 6, 1800)
    assert ups_after_downs(numbers) <= 1
    assert len(changed_at(numbers[600:])) <= 2
