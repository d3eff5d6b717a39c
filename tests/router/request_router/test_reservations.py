"""What was sent and not yet reported is counted once, and for no longer than it lives."""

import asyncio
from typing import Any

import pytest

from router.ledger import Unseen
from router.request_router import QoERequestRouter
from telemetry.routing_stats import to_routing_stats

# The body that `new_request` sends.
BODY_TOKENS = 160


async def test_a_full_best_replica_passes_its_reservation_on_to_the_one_used(
    router: QoERequestRouter,
    new_replica: Any,
    new_request: Any,
    by_handle: Any,
    settle: Any,
    make_report: Any,
) -> None:
    best = new_replica("best", max_ongoing_requests=1)
    best.set_queue_len_response(1)
    used = new_replica("used", to_routing_stats(make_report(demand_tokens=800, running=1)))
    router.update_replicas([used, best])
    assert await by_handle(router, new_request()) is used
    await settle()
    ledger = router.chooser.ledger
    assert ledger.unseen(best.replica_id) == Unseen(0, 0)
    assert ledger.unseen(used.replica_id) == Unseen(BODY_TOKENS, 1)
    router.on_request_completed(used.replica_id, "internal-0")
    assert len(ledger) == 0


async def test_a_retry_survives_the_late_end_of_its_rejected_attempt(
    router: QoERequestRouter, new_replica: Any, new_request: Any
) -> None:
    """Serve's order: choose, reject, choose again, and only then the first `completed`."""
    only = new_replica("only")
    router.update_replicas([only])
    pending = new_request()
    await router._choose_replica_for_request(pending)
    await router._choose_replica_for_request(pending, is_retry=True)
    router.on_request_completed(only.replica_id, "internal-0")
    assert router.chooser.ledger.unseen(only.replica_id) == Unseen(BODY_TOKENS, 1)
    router.on_request_completed(only.replica_id, "internal-0")
    assert len(router.chooser.ledger) == 0


async def test_a_stream_cancelled_while_it_waits_leaves_no_reservation(
    router: QoERequestRouter, new_replica: Any, new_request: Any, by_handle: Any
) -> None:
    """Serve calls nobody back for it."""
    full = new_replica("full", max_ongoing_requests=1)
    full.set_queue_len_response(1)
    router.update_replicas([full])
    waiting = asyncio.create_task(by_handle(router, new_request()))
    await asyncio.sleep(0.05)
    assert len(router.chooser.ledger) == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.05)
    assert len(router.chooser.ledger) == 0


async def test_a_dead_replica_is_not_chosen_and_holds_nothing(
    router: QoERequestRouter, new_replica: Any, route_all: Any, directly: Any
) -> None:
    dead, alive = new_replica("dead"), new_replica("alive")
    router.update_replicas([dead, alive])
    await route_all(router, directly, 6, together=False)
    assert router.chooser.ledger.unseen(dead.replica_id).streams == 3
    router.on_replica_actor_died(dead.replica_id)
    assert router.chooser.ledger.unseen(dead.replica_id) == Unseen(0, 0)
    assert await route_all(router, directly, 6, together=False) == {"alive": 6}


async def test_a_replica_taken_away_holds_nothing(
    router: QoERequestRouter, new_replica: Any, route_all: Any, directly: Any
) -> None:
    gone, stays = new_replica("gone"), new_replica("stays")
    router.update_replicas([gone, stays])
    await route_all(router, directly, 6, together=False)
    router.update_replicas([stays])
    assert len(router.chooser.ledger) == 3
    assert router.chooser.ledger.unseen(gone.replica_id) == Unseen(0, 0)


async def test_a_word_about_a_reader_takes_no_place(
    router: QoERequestRouter, new_replica: Any, new_request: Any, directly: Any
) -> None:
    """It comes through HAProxy as streams do, and has no prompt."""
    replica = new_replica("only")
    router.update_replicas([replica])
    word = new_request()
    word.args = []
    assert await directly(router, word) is replica
    assert router.chooser.ledger.unseen(replica.replica_id) == Unseen(0, 0)
