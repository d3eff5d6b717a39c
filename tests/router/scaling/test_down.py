"""Down in calm, as far as the others can take over."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from router.replica_load import FleetLoad, ReplicaLoad
from router.scaling import ScalingSettings, ScalingState, decide

LIMITS = ScalingSettings(min_replicas=1, max_replicas=10)


def test_an_idle_fleet_goes_down_by_halves_after_the_cool_down(
    idle: ReplicaLoad,
    decisions: Callable[..., list[int]],
    changed_at: Callable[[list[int]], list[int]],
) -> None:
    numbers = decisions(lambda _, replicas: [idle] * replicas, 10, 200)
    first_s, every_s = int(LIMITS.down_after_s), int(LIMITS.down_every_s)
    assert changed_at(numbers) == [first_s + i * every_s for i in range(4)]
    assert sorted(set(numbers), reverse=True) == [10, 5, 3, 2, 1]


def test_a_fleet_goes_down_to_the_most_that_the_cool_down_needed(
    busy: Callable[..., ReplicaLoad],
    decisions: Callable[..., list[int]],
    changed_at: Callable[[list[int]], list[int]],
) -> None:
    # Four carry 2,800 streams with a quarter to spare, and 3,600 need five.
    def loads(second: int, replicas: int) -> list[ReplicaLoad]:
        return [busy((3600.0 if second == 30 else 2800.0) / replicas)] * replicas

    numbers = decisions(loads, 8, 100)
    cool_down_s = int(LIMITS.down_after_s)
    assert changed_at(numbers) == [cool_down_s, 30 + cool_down_s + 1]
    assert numbers[cool_down_s] == 5
    assert numbers[-1] == 4


def test_a_moment_of_trouble_starts_the_cool_down_again(
    busy: Callable[..., ReplicaLoad],
    decisions: Callable[..., list[int]],
    changed_at: Callable[[list[int]], list[int]],
) -> None:
    cool_down_s = int(LIMITS.down_after_s)
    moment_s = cool_down_s - 1

    def loads(second: int, replicas: int) -> list[ReplicaLoad]:
        is_moment = second == moment_s
        return [busy(100.0, backlog_tokens=40_000 if is_moment else 0)] * replicas

    numbers = decisions(loads, 10, moment_s + cool_down_s + 2)
    assert changed_at(numbers) == [moment_s + 1 + cool_down_s]


def test_nobody_leaves_whom_the_others_could_not_replace(
    busy: Callable[..., ReplicaLoad], decisions: Callable[..., list[int]]
) -> None:
    # Two thirds of what three carry is all that two carry.
    numbers = decisions(lambda _, n: [busy(600.0)] * n, 3, 300)
    assert set(numbers) == {3}
    # A fast replica among slow ones counts for what it does.
    slow = busy(30.0, base_s=0.3)
    fast = busy(400.0, capacity_tokens=500_000.0)
    assert set(decisions(lambda *_: [fast, slow], 2, 300)) == {2}


def test_a_clock_that_is_set_back_costs_one_cool_down_and_no_more(
    idle: ReplicaLoad, fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad]
) -> None:
    fleet = fleet_of([idle] * 4)
    state = ScalingState(enough=((1e9, 3),), stepped_at_s=1e9, looked_at_s=1e9)
    replicas = 4
    for second in range(int(LIMITS.down_after_s) + 1):
        replicas, state = decide(fleet, replicas, state, LIMITS, float(second))
    assert replicas == 2
