"""The router as Ray Serve calls it. The one file under `router/` that imports Ray.

Serve ships this module to its routers by value: each unpickled class has module globals of
its own. Nothing here may hold state; what does is imported from modules that are shipped
by name.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from ray.serve.request_router import (
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)
from ray.util import metrics

from router.chooser import Chooser, Stream
from router.settings import RouterSettings

# Ray's name for it; lines logged there reach Serve's log files.
SERVE_LOGGER = "ray.serve"


class QoERequestRouter(RequestRouter):
    """Sends each stream to the replica with the least demand for its KV memory.

    On both paths of Serve LLM: through a handle, where Serve probes, retries and calls
    back, and in direct streaming, where HAProxy only asks for the first choice.

    No mixins: `FIFOMixin` would give the replica scored for one request to another, and
    a node is no reason to send a stream to a fuller replica.

    Reservations follow a request by the future that Serve settles with the replica it
    really uses, which may be a later rank. `on_request_routed` would say the same, but
    only for attempts that were accepted, and nothing at all for a cancelled one.

    Invariants:
        Fails open: `choose_replicas` never raises (Serve would hang the request) and
            returns a replica whenever there is one.
        Backs off: with all replicas full Serve sleeps between calls.
        Atomic: no await between reading the loads and reserving.
        Hands off: Serve's list of candidates is its own cache and stays as it is.

    Attributes:
        chooser: Decisions, fallbacks and the ledger, for tests and metrics.
    """

    def __init__(
        self,
        *args: Any,
        get_curr_time_s: Callable[[], float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, get_curr_time_s=get_curr_time_s, **kwargs)
        self._clock_s = get_curr_time_s or time.monotonic
        self._followed: weakref.WeakSet[asyncio.Future[RunningReplica]] = weakref.WeakSet()
        self._fallback_counter = metrics.Counter(
            "andes_router_fallbacks",
            description="Streams placed without scores, for want of fresh reports.",
            tag_keys=("application", "deployment"),
        ).set_default_tags(
            {
                "application": self._deployment_id.app_name,
                "deployment": self._deployment_id.name,
            }
        )
        self.initialize_state()

    def initialize_state(self, **kwargs: Any) -> None:
        """Take `request_router_kwargs`: the fields of `RouterSettings`.

        Raises:
            ValueError: An unknown key or a bad value; the message names both.
        """
        self.chooser = Chooser(
            RouterSettings.from_kwargs(kwargs),
            now_s=self._clock_s,
            on_fallback=self._fallback_counter.inc,
            log=logging.getLogger(SERVE_LOGGER),
        )

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """One round of choice: strict singleton ranks, or `Chooser.fall_back`'s."""
        if not candidate_replicas:
            return []
        try:
            ranks = self._choose(candidate_replicas, pending_request)
        except Exception as error:
            ranks = self.chooser.fall_back(
                len(candidate_replicas), f"scoring failed ({error!r})", error
            )
        return [[candidate_replicas[i] for i in rank] for rank in ranks]

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Serve's callback for every attempt that was sent, rejected ones included."""
        self.chooser.ledger.completed(replica_id, internal_request_id)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Serve's callback for a replica whose actor is gone."""
        super().on_replica_actor_died(replica_id)
        self.chooser.ledger.drop(replica_id)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Serve's callback for every broadcast: also once a second for new stats alone."""
        super().update_replicas(replicas)
        self.chooser.retain(self._replica_id_set)

    def _choose(
        self, replicas: list[RunningReplica], pending_request: PendingRequest | None
    ) -> list[list[int]]:
        stream = None if pending_request is None else self._stream(pending_request)
        candidates = [(r.replica_id, r.routing_stats) for r in replicas]
        return self.chooser.choose(candidates, stream)

    def _stream(self, pending_request: PendingRequest) -> Stream:
        pending_request.routing_context.should_backoff = True
        self._follow(pending_request)
        return Stream(
            pending_request.metadata.internal_request_id,
            pending_request.future,
            pending_request.args[0] if pending_request.args else None,
        )

    def _follow(self, pending_request: PendingRequest) -> None:
        future = pending_request.future
        if future not in self._followed:
            self._followed.add(future)
            request_id = pending_request.metadata.internal_request_id
            future.add_done_callback(partial(self._on_settled, request_id))

    def _on_settled(self, request_id: str, future: asyncio.Future[RunningReplica]) -> None:
        """Serve settled an attempt: sent somewhere, refused, or cancelled while queued."""
        if future.cancelled() or future.exception() is not None:
            self.chooser.ledger.cancel(request_id, future)
        else:
            self.chooser.ledger.move(request_id, future.result().replica_id, future)
