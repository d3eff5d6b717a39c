"""Serve's side of the router: replicas, requests, and the two ways they meet."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import (
    DeploymentHandleSource,
    DeploymentID,
    RequestMetadata,
)
from ray.serve._private.test_utils import FakeRunningReplica, MockTimer
from ray.serve.request_router import PendingRequest, RunningReplica

from router.request_router import QoERequestRouter
from telemetry.routing_stats import to_routing_stats

BODY = SimpleNamespace(prompt="x" * 400, max_tokens=120)
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


def _new_request(number: int = 0, body: object = BODY) -> PendingRequest:
    metadata = RequestMetadata(
        request_id=f"client-{number}", internal_request_id=f"internal-{number}"
    )
    return PendingRequest(args=[body], kwargs={}, metadata=metadata)


async def _by_handle(router: QoERequestRouter, pending: PendingRequest) -> RunningReplica:
    """As `Router._route_and_send_request_once` does, up to the sending."""
    replica = await router._choose_replica_for_request(pending)
    router.on_send_request(replica.replica_id)
    return replica


async def _directly(router: QoERequestRouter, pending: PendingRequest) -> RunningReplica:
    """As `Router.choose_replica(_reserve=False)` does for HAProxy: no callbacks."""
    candidates = router._choose_replicas_with_backoff(pending)
    try:
        return (await candidates.__anext__())[0]
    finally:
        await candidates.aclose()


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _route_all(
    router: QoERequestRouter, route: Route, count: int, *, together: bool
) -> Counter[str]:
    ways: list[Coroutine[Any, Any, Any]] = [
        route(router, _new_request(i)) for i in range(count)
    ]
    replicas = await asyncio.gather(*ways) if together else [await way for way in ways]
    return Counter(replica.replica_id.unique_id for replica in replicas)


@pytest.fixture
def timer() -> MockTimer:
    return MockTimer(start_time=1000.0)


@pytest.fixture
def new_router(timer: MockTimer) -> Callable[..., Any]:
    """Makes a router of a class, as Serve does."""

    def make(cls: Any, *, use_cache: bool = True) -> Any:
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

    return make


@pytest.fixture(params=[True, False], ids=["queue cache", "probes"])
async def router(
    request: Any, timer: MockTimer, new_router: Callable[..., Any]
) -> AsyncIterator[Any]:
    """A router; nothing may be pending, routing or reserved when a test is over."""
    router = new_router(QoERequestRouter, use_cache=request.param)
    yield router
    await _settle()
    assert router.curr_num_routing_tasks == 0
    assert router.num_pending_requests == 0
    timer.advance(LEDGER_TTL_S)
    assert len(router.chooser.ledger) == 0


@pytest.fixture
def new_replica(make_report: Any) -> Callable[..., Replica]:
    """Makes a replica with a name, and the stats of an idle engine unless told others."""

    def make(name: str, stats: dict[str, Any] | None = None, **kwargs: Any) -> Replica:
        idle = to_routing_stats(make_report())
        return Replica(name, idle if stats is None else stats, **kwargs)

    return make


@pytest.fixture
def new_request() -> Callable[..., PendingRequest]:
    """Makes a request with a number, and a body that counts for 160 tokens."""
    return _new_request


@pytest.fixture
def by_handle() -> Route:
    return _by_handle


@pytest.fixture
def directly() -> Route:
    return _directly


@pytest.fixture(params=[_by_handle, _directly], ids=["by handle", "directly"])
def route(request: Any) -> Route:
    """Either way to a replica, in turn."""
    return request.param


@pytest.fixture
def route_all() -> Callable[..., Awaitable[Counter[str]]]:
    """Routes so many requests; how many went to each replica."""
    return _route_all


@pytest.fixture
def settle() -> Callable[[], Awaitable[None]]:
    """Lets the router's own tasks end."""
    return _settle
