"""When a router takes in what replicas broadcast."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ray.serve._private.test_utils import MockTimer

from router.request_router import MAX_UNPOLLED_S, QoERequestRouter
from telemetry.broadcast import ReportBroadcaster

TIMEOUT_S = 60.0


@pytest.fixture
def broadcaster(make_report: Any) -> Iterator[ReportBroadcaster]:
    report = make_report()
    with ReportBroadcaster("127.0.0.1", lambda: report) as broadcaster:
        yield broadcaster


@pytest.fixture
def connect(
    broadcaster: ReportBroadcaster, new_router: Any, new_replica: Any
) -> Callable[[], tuple[QoERequestRouter, Any]]:
    """Makes a router and its only replica, whose routing stats tell where it reports."""

    def make() -> tuple[QoERequestRouter, Any]:
        router = new_router(QoERequestRouter)
        replica = new_replica("a", {"andes_endpoint": broadcaster.endpoint})
        router.update_replicas([replica])
        return router, replica

    return make


async def test_reports_are_taken_in_while_nobody_asks(
    connect: Any, new_request: Any
) -> None:
    router, replica = connect()
    deadline_s = time.monotonic() + TIMEOUT_S
    while router.chooser._fleet.roster.book.last(replica.replica_id) is None:
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.005)
    await router.choose_replicas([replica], new_request())
    assert (router.chooser.decisions, router.chooser.fallbacks) == (1, 0)


async def test_a_request_does_it_where_the_event_loop_had_no_time(
    connect: Any, new_request: Any, timer: MockTimer
) -> None:
    router, replica = connect()
    deadline_s = time.monotonic() + TIMEOUT_S
    # Nothing here lets it run: a choice that waits for nobody is a plain call.
    while not router.chooser.decisions:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)  # noqa: ASYNC251 - so that it has none
        timer.advance(2 * MAX_UNPOLLED_S)
        await router.choose_replicas([replica], new_request())
