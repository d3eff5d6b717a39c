"""A call that only one replica can answer goes there, or nowhere."""

import weakref
from typing import Any

import pytest
from ray.cloudpickle import cloudpickle
from ray.serve.config import RequestRouterConfig
from ray.serve.exceptions import BackPressureError

from router import peers
from router.peers import Pinned, choose_nothing, endpoints_of
from router.request_router import QoERequestRouter
from telemetry.routing_stats import to_routing_stats


@pytest.mark.parametrize("name", ["busy", "idle"])
async def test_a_pinned_call_goes_to_its_replica_whatever_that_costs(
    router: QoERequestRouter,
    new_replica: Any,
    new_request: Any,
    by_handle: Any,
    make_report: Any,
    name: str,
) -> None:
    busy = to_routing_stats(make_report(demand_tokens=14_000, running=30))
    router.update_replicas([new_replica("busy", busy), new_replica("idle")])
    replica = await by_handle(router, new_request(body=Pinned(name)))
    assert replica.replica_id.unique_id == name
    assert len(router.chooser.ledger) == 0


async def test_a_call_pinned_to_a_replica_that_is_gone_fails(
    router: QoERequestRouter, new_replica: Any, new_request: Any, by_handle: Any
) -> None:
    router.update_replicas([new_replica("a"), new_replica("b")])
    with pytest.raises(BackPressureError):
        await by_handle(router, new_request(body=Pinned("gone")))


async def test_a_router_tells_its_process_where_replicas_broadcast(
    new_router: Any, new_replica: Any, make_report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RequestRouterConfig(
        request_router_class="router.request_router.QoERequestRouter"
    )
    # As in another process, where no class is known by the name of this one.
    nobody: Any = weakref.WeakValueDictionary()
    monkeypatch.setattr(cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", nobody)
    shipped = config.get_request_router_class()
    assert shipped is not QoERequestRouter
    router = new_router(shipped)
    told = to_routing_stats(make_report(), "tcp://127.0.0.1:1#name")
    router.update_replicas([new_replica("a", told), new_replica("mute")])
    endpoints = endpoints_of(str(router._deployment_id))
    assert endpoints == {"a": "tcp://127.0.0.1:1#name"}


async def test_a_router_that_chooses_nothing_hears_and_tells_nothing(
    new_router: Any,
    new_replica: Any,
    new_request: Any,
    by_handle: Any,
    make_report: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "_choosing_nothing", set())
    told = to_routing_stats(make_report(), "tcp://127.0.0.1:1#name")
    usual, pinned = new_router(QoERequestRouter), new_router(QoERequestRouter)
    usual.update_replicas([new_replica("a", told)])
    assert usual._listener is not None
    assert usual._metrics._ticker.is_running
    assert usual._hearing.is_running
    choose_nothing(str(pinned._deployment_id))
    pinned.update_replicas([new_replica("a", told)])
    assert pinned._listener is None
    assert not pinned._metrics._ticker.is_running
    assert not pinned._hearing.is_running
    assert endpoints_of(str(pinned._deployment_id)) == {"a": "tcp://127.0.0.1:1#name"}
    replica = await by_handle(pinned, new_request(body=Pinned("a")))
    assert replica.replica_id.unique_id == "a"
