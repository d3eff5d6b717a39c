"""Where requests go, by handle and directly, and that they always go somewhere."""

import asyncio
import weakref
from typing import Any

import pytest
from ray.cloudpickle import cloudpickle
from ray.serve._private.common import ReplicaID
from ray.serve._private.test_utils import MockTimer
from ray.serve.config import RequestRouterConfig

from router.request_router import QoERequestRouter
from telemetry.routing_stats import to_routing_stats


async def test_four_concurrent_streams_spread_over_two_equal_replicas(
    router: QoERequestRouter, new_replica: Any, route: Any, route_all: Any
) -> None:
    router.update_replicas([new_replica("a"), new_replica("b")])
    assert await route_all(router, route, 4, together=True) == {"a": 2, "b": 2}
    assert router.chooser.decisions == 4


async def test_a_busy_replica_gets_nothing_while_the_other_is_idle(
    router: QoERequestRouter, new_replica: Any, route: Any, route_all: Any, make_report: Any
) -> None:
    busy = make_report(demand_tokens=14_000, running=30)
    router.update_replicas(
        [new_replica("busy", to_routing_stats(busy)), new_replica("idle")]
    )
    assert await route_all(router, route, 20, together=False) == {"idle": 20}


async def test_all_reports_missing_still_routes_and_balances(
    router: QoERequestRouter, new_replica: Any, route: Any, route_all: Any
) -> None:
    router.update_replicas([new_replica(name, {}) for name in "abcd"])
    ways = await route_all(router, route, 80, together=False)
    assert sum(ways.values()) == 80
    # Turns are exact, but Serve draws between probed queues of equal length.
    assert all(ways[name] >= 5 for name in "abcd")
    assert (router.chooser.decisions, router.chooser.fallbacks) == (0, 80)


async def test_a_replica_without_a_report_gets_one_stream_to_report_on(
    router: QoERequestRouter, new_replica: Any, route: Any, route_all: Any
) -> None:
    router.update_replicas([new_replica("idle"), new_replica("silent", {})])
    ways = await route_all(router, route, 60, together=False)
    assert ways == {"idle": 59, "silent": 1}


async def test_one_stale_report_costs_its_replica_the_streams_and_nobody_the_score(
    router: QoERequestRouter,
    new_replica: Any,
    route_all: Any,
    directly: Any,
    make_report: Any,
    timer: MockTimer,
) -> None:
    def report(seq: int) -> dict[str, Any]:
        return to_routing_stats(make_report(demand_tokens=14_000, running=30, seq=seq))

    def idle(waiting: int) -> dict[str, Any]:
        return to_routing_stats(make_report(waiting=waiting, seq=1 + waiting))

    one, other = new_replica("one", report(seq=1)), new_replica("other", idle(0))
    router.update_replicas([one, other])
    assert await route_all(router, directly, 4, together=False) == {"other": 4}
    timer.advance(10.1)
    assert await route_all(router, directly, 4, together=False) == {"other": 4}
    # None is left to be preferred.
    other.stats = idle(1)
    router.update_replicas([one, other])
    assert await route_all(router, directly, 1, together=False) == {"other": 1}
    timer.advance(10.1)
    turns = await route_all(router, directly, 4, together=False)
    assert turns == {"one": 2, "other": 2}
    one.stats = report(seq=2)
    router.update_replicas([one, other])
    assert await route_all(router, directly, 4, together=False) == {"one": 4}
    assert (router.chooser.decisions, router.chooser.fallbacks) == (13, 4)


async def test_an_exception_in_scoring_still_routes(
    router: QoERequestRouter, new_replica: Any, route: Any, route_all: Any
) -> None:
    """An exception out of `choose_replicas` would hang the request for ever."""
    broken = new_replica("broken", {})
    broken.stats = RuntimeError("no stats")
    router.update_replicas([broken, new_replica("b")])
    ways = await route_all(router, route, 60, together=False)
    assert min(ways["broken"], ways["b"]) >= 15
    assert router.chooser.fallbacks == 60


@pytest.mark.parametrize("args", [[], [None], ["garbage"], [{"prompt": 7}]], ids=repr)
async def test_any_request_is_routed(
    router: QoERequestRouter,
    new_replica: Any,
    new_request: Any,
    route: Any,
    args: list[Any],
) -> None:
    router.update_replicas([new_replica("a")])
    pending = new_request()
    pending.args = args
    assert (await route(router, pending)).replica_id.unique_id == "a"
    assert router.chooser.decisions == 1


async def test_all_replicas_full_means_few_choices_and_no_hot_loop(
    router: QoERequestRouter, new_replica: Any, new_request: Any, by_handle: Any
) -> None:
    """Without `should_backoff` Serve asks thousands of times a second."""
    replicas = [new_replica(name, max_ongoing_requests=1) for name in "ab"]
    for replica in replicas:
        replica.set_queue_len_response(1)
    router.update_replicas(replicas)
    waiting = asyncio.create_task(by_handle(router, new_request()))
    await asyncio.sleep(0.6)
    assert 2 <= router.chooser.decisions <= 8
    assert len(router.chooser.ledger) == 1
    for replica in replicas:
        replica.set_queue_len_response(0)
    await asyncio.wait_for(waiting, timeout=60)


async def test_ranks_are_strict_and_the_candidates_stay_as_they_are(
    router: QoERequestRouter, new_replica: Any, new_request: Any
) -> None:
    """The list is Serve's own cache; within a rank Serve would take the shortest queue."""
    candidates = [new_replica(name) for name in "abcdef"]
    given = list(candidates)
    for number in range(20):
        ranks = await router.choose_replicas(candidates, new_request(number))
        assert [len(rank) for rank in ranks] == [1] * 6
        assert {r.name for (r,) in ranks} == set("abcdef")
    assert candidates == given
    assert len(await router.choose_replicas(candidates, None)) == 6
    assert await router.choose_replicas([], new_request()) == []


@pytest.mark.parametrize(
    "kwargs", [{"ledger_ttl": 1}, {"ledger_ttl_s": 0}, {"seed": "x"}], ids=repr
)
async def test_bad_settings_are_refused_by_name_and_value(
    kwargs: dict[str, Any], new_router: Any
) -> None:
    ((key, value),) = kwargs.items()
    with pytest.raises(ValueError, match=f"{key}={value!r}"):
        new_router(QoERequestRouter).initialize_state(**kwargs)


async def test_the_class_works_as_serve_ships_it(
    new_replica: Any,
    route_all: Any,
    by_handle: Any,
    new_router: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Serve pickles the class with its module by value."""
    config = RequestRouterConfig(
        request_router_class="router.request_router.QoERequestRouter",
        request_router_kwargs={"ledger_ttl_s": 5.0},
    )
    # As in another process, where no class is known by the name of this one.
    nobody: Any = weakref.WeakValueDictionary()
    monkeypatch.setattr(cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", nobody)
    shipped = config.get_request_router_class()
    assert shipped is not QoERequestRouter
    router = new_router(shipped)
    router.initialize_state(**config.request_router_kwargs)
    router.update_replicas([new_replica("a"), new_replica("b")])
    assert await route_all(router, by_handle, 4, together=True) == {"a": 2, "b": 2}
    for name in "ab":
        replica_id = next(r for r in router.curr_replicas if r.unique_id == name)
        assert isinstance(replica_id, ReplicaID)
        for number in range(4):
            router.on_request_completed(replica_id, f"internal-{number}")
    assert len(router.chooser.ledger) == 0
