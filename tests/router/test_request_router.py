import asyncio
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from ray.cloudpickle import cloudpickle
from ray.serve._private.common import (
    DeploymentHandleSource,
    DeploymentID,
    ReplicaID,
    RequestMetadata,
)
from ray.serve._private.test_utils import FakeRunningReplica, MockTimer
from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import PendingRequest, RunningReplica

from router.ledger import Unseen
from router.request_router import QoERequestRouter
from telemetry.routing_stats import to_routing_stats

BODY = SimpleNamespace(prompt="x" * 400, max_tokens=120)
BODY_TOKENS = 160
LEDGER_TTL_S = 10.0

Route = Callable[[QoERequestRouter, PendingRequest], Awaitable[RunningReplica]]


class Replica(FakeRunningReplica):
    """Ray's fake, with routing stats and an idle queue."""

    def __init__(self, name: str, stats: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.stats: Any = stats
        self.set_queue_len_response(0)

    @property
    def name(self) -> str:
        return self.replica_id.unique_id

    @property
    def routing_stats(self) -> dict[str, Any]:
        if isinstance(self.stats, Exception):
            raise self.stats
        return self.stats


def new_router(cls: Any, timer: MockTimer, *, use_cache: bool = True) -> Any:
    router = cls(
        deployment_id=DeploymentID(name="TEST_DEPLOYMENT"),
        handle_source=DeploymentHandleSource.REPLICA,
        # Serve passes what the mixins want to every router.
        self_node_id="node",
        self_actor_id="actor",
        self_actor_handle=None,
        use_replica_queue_len_cache=use_cache,
        prefer_local_node_routing=True,
        prefer_local_az_routing=True,
        self_availability_zone=None,
        get_curr_time_s=timer.time,
    )
    router.initialize_state(seed=1, ledger_ttl_s=LEDGER_TTL_S)
    return router


@pytest.fixture
def timer() -> MockTimer:
    return MockTimer(start_time=1000.0)


@pytest.fixture(params=[True, False], ids=["queue cache", "probes"])
async def router(request: Any, timer: MockTimer) -> Any:
    """A router; nothing may be pending, routing or reserved when a test is over."""
    router = new_router(QoERequestRouter, timer, use_cache=request.param)
    yield router
    await settle()
    assert router.curr_num_routing_tasks == 0
    assert router.num_pending_requests == 0
    timer.advance(LEDGER_TTL_S)
    assert len(router.chooser.ledger) == 0


@pytest.fixture
def idle(make_report: Any) -> dict[str, Any]:
    return to_routing_stats(make_report())


def request(number: int = 0, body: object = BODY) -> PendingRequest:
    metadata = RequestMetadata(
        request_id=f"client-{number}", internal_request_id=f"internal-{number}"
    )
    return PendingRequest(args=[body], kwargs={}, metadata=metadata)


async def by_handle(router: QoERequestRouter, pending: PendingRequest) -> RunningReplica:
    """As `Router._route_and_send_request_once` does, up to the sending."""
    replica = await router._choose_replica_for_request(pending)
    router.on_send_request(replica.replica_id)
    return replica


async def directly(router: QoERequestRouter, pending: PendingRequest) -> RunningReplica:
    """As `Router.choose_replica(_reserve=False)` does for HAProxy: no callbacks."""
    candidates = router._choose_replicas_with_backoff(pending)
    try:
        return (await candidates.__anext__())[0]
    finally:
        await candidates.aclose()


both_paths = pytest.mark.parametrize("route", [by_handle, directly])


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def route_all(
    router: QoERequestRouter, route: Route, count: int, *, together: bool
) -> Counter[str]:
    ways: list[Coroutine[Any, Any, Any]] = [route(router, request(i)) for i in range(count)]
    replicas = await asyncio.gather(*ways) if together else [await way for way in ways]
    return Counter(replica.replica_id.unique_id for replica in replicas)


@both_paths
async def test_four_concurrent_streams_spread_over_two_equal_replicas(
    router: QoERequestRouter, idle: dict[str, Any], route: Route
) -> None:
    router.update_replicas([Replica("a", idle), Replica("b", idle)])
    assert await route_all(router, route, 4, together=True) == {"a": 2, "b": 2}
    assert router.chooser.decisions == 4


@both_paths
async def test_a_busy_replica_gets_nothing_while_the_other_is_idle(
    router: QoERequestRouter, idle: dict[str, Any], make_report: Any, route: Route
) -> None:
    busy = make_report(demand_tokens=14_000, running=30)
    router.update_replicas([Replica("busy", to_routing_stats(busy)), Replica("idle", idle)])
    assert await route_all(router, route, 20, together=False) == {"idle": 20}


@both_paths
async def test_all_reports_missing_still_routes_and_balances(
    router: QoERequestRouter, route: Route
) -> None:
    router.update_replicas([Replica(name, {}) for name in "abcd"])
    ways = await route_all(router, route, 80, together=False)
    assert sum(ways.values()) == 80
    # Turns are exact, but Serve draws between probed queues of equal length.
    assert all(ways[name] >= 5 for name in "abcd")
    assert (router.chooser.decisions, router.chooser.fallbacks) == (0, 80)


@both_paths
async def test_one_report_missing_means_no_mixed_metrics(
    router: QoERequestRouter, idle: dict[str, Any], route: Route
) -> None:
    router.update_replicas([Replica("idle", idle), Replica("silent", {})])
    ways = await route_all(router, route, 60, together=False)
    assert sum(ways.values()) == 60
    assert min(ways["idle"], ways["silent"]) >= 15


async def test_a_stale_report_falls_back_and_a_fresh_one_scores_again(
    router: QoERequestRouter, idle: dict[str, Any], make_report: Any, timer: MockTimer
) -> None:
    def report(seq: int) -> dict[str, Any]:
        return to_routing_stats(make_report(demand_tokens=14_000, running=30, seq=seq))

    busy = Replica("busy", report(seq=1))
    router.update_replicas([busy, Replica("idle", idle)])
    assert await route_all(router, directly, 4, together=False) == {"idle": 4}
    timer.advance(10.1)
    assert await route_all(router, directly, 4, together=False) == {"idle": 2, "busy": 2}
    busy.stats = report(seq=2)
    assert await route_all(router, directly, 4, together=False) == {"idle": 4}
    assert (router.chooser.decisions, router.chooser.fallbacks) == (8, 4)


@both_paths
async def test_an_exception_in_scoring_still_routes(
    router: QoERequestRouter, idle: dict[str, Any], route: Route
) -> None:
    """An exception out of `choose_replicas` would hang the request for ever."""
    broken = Replica("broken", {})
    broken.stats = RuntimeError("no stats")
    router.update_replicas([broken, Replica("b", idle)])
    ways = await route_all(router, route, 60, together=False)
    assert min(ways["broken"], ways["b"]) >= 15
    assert router.chooser.fallbacks == 60


@both_paths
@pytest.mark.parametrize("args", [[], [None], ["garbage"], [{"prompt": 7}]], ids=repr)
async def test_any_request_is_routed(
    router: QoERequestRouter, idle: dict[str, Any], route: Route, args: list[Any]
) -> None:
    router.update_replicas([Replica("a", idle)])
    pending = request()
    pending.args = args
    assert (await route(router, pending)).replica_id.unique_id == "a"
    assert router.chooser.decisions == 1


async def test_all_replicas_full_means_few_choices_and_no_hot_loop(
    router: QoERequestRouter, idle: dict[str, Any]
) -> None:
    """Without `should_backoff` Serve asks thousands of times a second."""
    replicas = [Replica(name, idle, max_ongoing_requests=1) for name in "ab"]
    for replica in replicas:
        replica.set_queue_len_response(1)
    router.update_replicas(replicas)
    waiting = asyncio.create_task(by_handle(router, request()))
    await asyncio.sleep(0.6)
    assert 2 <= router.chooser.decisions <= 8
    assert len(router.chooser.ledger) == 1
    for replica in replicas:
        replica.set_queue_len_response(0)
    await asyncio.wait_for(waiting, timeout=5)


async def test_a_full_best_replica_passes_its_reservation_on_to_the_one_used(
    router: QoERequestRouter, idle: dict[str, Any], make_report: Any
) -> None:
    best = Replica("best", idle, max_ongoing_requests=1)
    best.set_queue_len_response(1)
    used = Replica("used", to_routing_stats(make_report(demand_tokens=800, running=1)))
    router.update_replicas([used, best])
    assert await by_handle(router, request()) is used
    await settle()
    ledger = router.chooser.ledger
    assert ledger.unseen(best.replica_id) == Unseen(0, 0)
    assert ledger.unseen(used.replica_id) == Unseen(BODY_TOKENS, 1)
    router.on_request_completed(used.replica_id, "internal-0")
    assert len(ledger) == 0


async def test_a_retry_survives_the_late_end_of_its_rejected_attempt(
    router: QoERequestRouter, idle: dict[str, Any]
) -> None:
    """Serve's order: choose, reject, choose again, and only then the first `completed`."""
    only = Replica("only", idle)
    router.update_replicas([only])
    pending = request()
    await router._choose_replica_for_request(pending)
    await router._choose_replica_for_request(pending, is_retry=True)
    router.on_request_completed(only.replica_id, "internal-0")
    assert router.chooser.ledger.unseen(only.replica_id) == Unseen(BODY_TOKENS, 1)
    router.on_request_completed(only.replica_id, "internal-0")
    assert len(router.chooser.ledger) == 0


async def test_a_stream_cancelled_while_it_waits_leaves_no_reservation(
    router: QoERequestRouter, idle: dict[str, Any]
) -> None:
    """Serve calls nobody back for it."""
    full = Replica("full", idle, max_ongoing_requests=1)
    full.set_queue_len_response(1)
    router.update_replicas([full])
    waiting = asyncio.create_task(by_handle(router, request()))
    await asyncio.sleep(0.05)
    assert len(router.chooser.ledger) == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.05)
    assert len(router.chooser.ledger) == 0


async def test_a_dead_replica_is_not_chosen_and_holds_nothing(
    router: QoERequestRouter, idle: dict[str, Any]
) -> None:
    dead, alive = Replica("dead", idle), Replica("alive", idle)
    router.update_replicas([dead, alive])
    await route_all(router, directly, 6, together=False)
    assert router.chooser.ledger.unseen(dead.replica_id).streams == 3
    router.on_replica_actor_died(dead.replica_id)
    assert router.chooser.ledger.unseen(dead.replica_id) == Unseen(0, 0)
    assert await route_all(router, directly, 6, together=False) == {"alive": 6}


async def test_a_replica_taken_away_holds_nothing(
    router: QoERequestRouter, idle: dict[str, Any]
) -> None:
    gone, stays = Replica("gone", idle), Replica("stays", idle)
    router.update_replicas([gone, stays])
    await route_all(router, directly, 6, together=False)
    router.update_replicas([stays])
    assert len(router.chooser.ledger) == 3
    assert router.chooser.ledger.unseen(gone.replica_id) == Unseen(0, 0)


async def test_ranks_are_strict_and_the_candidates_stay_as_they_are(
    router: QoERequestRouter, idle: dict[str, Any]
) -> None:
    """The list is Serve's own cache; within a rank Serve would take the shortest queue."""
    candidates = [Replica(name, idle) for name in "abcdef"]
    given = list(candidates)
    for number in range(20):
        ranks = await router.choose_replicas(candidates, request(number))
        assert [len(rank) for rank in ranks] == [1] * 6
        assert {r.name for (r,) in ranks} == set("abcdef")
    assert candidates == given
    assert len(await router.choose_replicas(candidates, None)) == 6
    assert await router.choose_replicas([], request()) == []


@pytest.mark.parametrize(
    "kwargs", [{"ledger_ttl": 1}, {"ledger_ttl_s": 0}, {"seed": "x"}], ids=repr
)
async def test_bad_settings_are_refused_by_name_and_value(
    timer: MockTimer, kwargs: dict[str, Any]
) -> None:
    ((key, value),) = kwargs.items()
    with pytest.raises(ValueError, match=f"{key}={value!r}"):
        new_router(QoERequestRouter, timer).initialize_state(**kwargs)


async def test_the_class_works_as_serve_ships_it(
    timer: MockTimer, idle: dict[str, Any], monkeypatch: pytest.MonkeyPatch
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
    router = new_router(shipped, timer)
    router.initialize_state(**config.request_router_kwargs)
    router.update_replicas([Replica("a", idle), Replica("b", idle)])
    assert await route_all(router, by_handle, 4, together=True) == {"a": 2, "b": 2}
    for name in "ab":
        replica_id = next(r for r in router.curr_replicas if r.unique_id == name)
        assert isinstance(replica_id, ReplicaID)
        for number in range(4):
            router.on_request_completed(replica_id, f"internal-{number}")
    assert len(router.chooser.ledger) == 0
