"""Refused streams and broadcast reports, as Serve sees them."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import (
    DeploymentHandleSource,
    DeploymentID,
    RequestMetadata,
)
from ray.serve._private.test_utils import FakeRunningReplica
from ray.serve.exceptions import BackPressureError
from ray.serve.request_router import PendingRequest

from router.request_router import QoERequestRouter, RefusedError
from telemetry.broadcast import ReportBroadcaster
from telemetry.routing_stats import to_routing_stats

OVERLOADED = {"demand_tokens": 900_000, "running": 9, "prefill_backlog_tokens": 900_000}


class Replica(FakeRunningReplica):
    """Ray's fake, with routing stats and an idle queue."""

    def __init__(self, name: str, stats: dict[str, Any]) -> None:
        super().__init__(name)
        self.stats = stats
        self.set_queue_len_response(0)

    @property
    def routing_stats(self) -> dict[str, Any]:
        return self.stats


@pytest.fixture
async def router() -> Any:
    """A router; nothing may be pending or routing when a test is over."""
    router: Any = QoERequestRouter(
        deployment_id=DeploymentID(name="TEST_DEPLOYMENT"),
        handle_source=DeploymentHandleSource.REPLICA,
        self_node_id="node",
        self_actor_id="actor",
        self_actor_handle=None,
        use_replica_queue_len_cache=True,
    )
    router.initialize_state(policy="qoe", seed=1, max_hold_s=0.05)
    yield router
    for _ in range(10):
        await asyncio.sleep(0)
    assert router.curr_num_routing_tasks == 0
    assert router.num_pending_requests == 0
    assert router._held == 0


def request(number: int = 0, sheddable: bool = True) -> PendingRequest:
    body = SimpleNamespace(prompt="x", stream=True, vllm_xargs={"qoe_sheddable": sheddable})
    metadata = RequestMetadata(
        request_id=f"client-{number}", internal_request_id=f"internal-{number}"
    )
    return PendingRequest(args=[body], kwargs={}, metadata=metadata)


async def pick(router: Any, pending: PendingRequest) -> Any:
    """As direct streaming does."""
    candidates = router._choose_replicas_with_backoff(pending)
    try:
        return (await candidates.__anext__())[0]
    finally:
        await candidates.aclose()


async def test_a_refused_stream_gets_429_on_the_handle_path(
    router: Any, make_report: Any
) -> None:
    router.update_replicas([Replica("a", to_routing_stats(make_report(**OVERLOADED)))])
    refused = router._choose_replica_for_request(request())
    with pytest.raises(BackPressureError) as error:
        await asyncio.wait_for(refused, timeout=60)
    assert (error.value.status_code, error.value.retry_after_s) == (429, 5.0)
    assert len(router.chooser.ledger) == 0


async def test_a_refused_stream_gets_an_answer_in_direct_streaming(
    router: Any, make_report: Any
) -> None:
    """Serve LLM makes a 503 of this type; without an answer it would ask for ever."""
    router.update_replicas([Replica("a", to_routing_stats(make_report(**OVERLOADED)))])
    with pytest.raises(RefusedError):
        await asyncio.wait_for(pick(router, request()), timeout=60)
    assert len(router.chooser.ledger) == 0


async def test_other_streams_are_placed_while_one_is_held(
    router: Any, make_report: Any
) -> None:
    router.initialize_state(policy="qoe", seed=1, max_hold_s=5.0)
    router.update_replicas([Replica("a", to_routing_stats(make_report(**OVERLOADED)))])
    held = asyncio.create_task(router._choose_replica_for_request(request()))
    await asyncio.sleep(0.01)
    other = router._choose_replica_for_request(request(1, sheddable=False))
    assert await asyncio.wait_for(other, timeout=60)
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
    router.on_request_completed(next(iter(router.curr_replicas)), "internal-1")


async def test_a_held_stream_goes_where_there_is_room_by_then(
    router: Any, make_report: Any
) -> None:
    router.initialize_state(policy="qoe", seed=1, max_hold_s=0.2)
    router.update_replicas([Replica("a", to_routing_stats(make_report(**OVERLOADED)))])
    held = asyncio.create_task(pick(router, request()))
    await asyncio.sleep(0.01)
    (replica_id,) = router.curr_replicas
    router.chooser.on_report(replica_id, make_report(seq=2))
    assert (await held).replica_id == replica_id


async def test_what_a_replica_broadcasts_is_heard_before_serve_says_it(
    router: Any, make_report: Any
) -> None:
    report = make_report(seq=3, demand_tokens=99, running=1)
    broadcaster = ReportBroadcaster("127.0.0.1", lambda: report, period_s=0.01)
    try:
        router.update_replicas([Replica("a", to_routing_stats(None, broadcaster.endpoint))])
        for number in range(300):
            await pick(router, request(number))
            if router.chooser.decisions:
                break
            await asyncio.sleep(0.01)
        assert router.chooser.decisions == 1
    finally:
        broadcaster.close()
        router.update_replicas([])
