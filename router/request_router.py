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

from ray.serve.exceptions import BackPressureError
from ray.serve.request_router import (
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)
from ray.util import metrics

from router.chooser import Candidates, Chooser, Hold, Ranks, Shed, Stream
from router.loop_ticker import LoopTicker
from router.metering import RouterMetrics
from router.settings import RouterSettings
from telemetry.broadcast import ReportListener
from telemetry.report import request_key
from telemetry.routing_stats import endpoint_of

# Ray's name for it; lines logged there reach Serve's log files.
SERVE_LOGGER = "ray.serve"
TOO_MANY_REQUESTS = 429
# Replicas report some twenty times a second. What they say is read in between requests:
# it would take longer than to place one.
REPORT_POLL_PERIOD_S = 0.01
# A request does it where the event loop has had no time for it.
MAX_UNPOLLED_S = 0.05


class RefusedError(RuntimeError):
    """A stream was refused in direct streaming; Serve LLM answers 503 to this type."""


class QoERequestRouter(RequestRouter):
    """Sends each stream to the replica where it costs all readers least.

    On both paths of Serve LLM: through a handle, where Serve probes, retries and calls
    back, and in direct streaming, where HAProxy only asks for the first choice.

    No mixins: `FIFOMixin` would give the replica scored for one request to another, and
    a node is no reason to send a stream to a fuller replica.

    Reservations follow a request by the future that Serve settles with the replica it
    really uses, which may be a later rank. `on_request_routed` would say the same, but
    only for attempts that were accepted, and nothing at all for a cancelled one.

    Invariants:
        Fails open: `choose_replicas` never raises where Serve would hang the request, and
            returns a replica whenever there is one, unless the stream asked to be refused
            rather than served badly.
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
        self._held = 0
        self._listener: ReportListener | None = None
        self._report_poll = LoopTicker(self._poll_reports, REPORT_POLL_PERIOD_S)
        self._polled_at_s = self._clock_s()
        self._listed: list[RunningReplica] = []
        self._candidates: Candidates = []
        deployment = self._deployment_id
        tags = {"application": deployment.app_name, "deployment": deployment.name}
        self._metrics = RouterMetrics(metrics, tags, self)
        self.initialize_state()

    def initialize_state(self, **kwargs: Any) -> None:
        """Take `request_router_kwargs`: the fields of `RouterSettings`.

        Raises:
            ValueError: An unknown key or a bad value; the message names both.
        """
        self.chooser = Chooser(
            RouterSettings.from_kwargs(kwargs),
            now_s=self._clock_s,
            log=logging.getLogger(SERVE_LOGGER),
        )

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """One round of choice: strict singleton ranks, or those of `Chooser.fall_back`.

        Raises:
            RefusedError: The stream is shed in direct streaming, where nobody waits for
                its future.
        """
        if not candidate_replicas:
            return []
        chosen = self._choose(candidate_replicas, pending_request)
        if isinstance(chosen, Hold):
            await self._hold(chosen)
            # Serve's broadcasts may have changed the replicas, but not the list.
            chosen = self._choose(candidate_replicas, pending_request, may_hold=False)
        if isinstance(chosen, Shed):
            self._refuse(chosen, pending_request)
            # Serve looks whether the request is settled when it is given a replica, and
            # would ask for one for ever.
            chosen = [[0]]
        assert not isinstance(chosen, Hold)
        return [[candidate_replicas[i] for i in rank] for rank in chosen]

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Serve's callback for every attempt that was sent, rejected ones included."""
        self.chooser.completed(replica_id, internal_request_id)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Serve's callback for a replica whose actor is gone."""
        super().on_replica_actor_died(replica_id)
        self.chooser.died(replica_id)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Serve's callback for every broadcast: also once a second for new stats alone."""
        super().update_replicas(replicas)
        self._listed = []
        self.chooser.retain(self._replica_id_set)
        # Telemetry is never a reason for Serve to lose a broadcast.
        try:
            self._listen_to(_endpoints(replicas))
            self._metrics.start()
        except Exception:
            logging.getLogger(SERVE_LOGGER).exception("Replicas are not listened to.")

    def _listen_to(self, endpoints: dict[ReplicaID, str]) -> None:
        if self._listener is None:
            if not endpoints:
                return
            self._listener = ReportListener()
            # ZMQ waits for ever for a socket that is collected before it is closed.
            weakref.finalize(self, self._listener.close)
        self._listener.listen_to(endpoints)
        self._report_poll.start()

    def _poll_reports(self) -> None:
        self._polled_at_s = self._clock_s()
        if self._listener is not None and (news := self._listener.poll()):
            for replica_id, report in news:
                self.chooser.on_report(replica_id, report)
            self.chooser.settle()

    def _choose(
        self,
        replicas: list[RunningReplica],
        pending_request: PendingRequest | None,
        *,
        may_hold: bool = True,
    ) -> Ranks | Hold | Shed:
        """As the chooser does; it does not raise, since Serve would hang the request."""
        try:
            if self._clock_s() - self._polled_at_s > MAX_UNPOLLED_S:
                self._poll_reports()
            stream = self._stream(pending_request)
            candidates = self._with_stats(replicas)
            can_wait = may_hold and self._held < max(1, len(replicas) // 2)
            chosen = self.chooser.choose_or_refuse(candidates, stream, may_hold=can_wait)
        except Exception as error:
            return self.chooser.fall_back(
                len(replicas), f"scoring failed ({error!r})", error
            )
        return chosen

    def _with_stats(self, replicas: list[RunningReplica]) -> Candidates:
        """Those that the last one was told of, if they are the same.

        Serve makes a new list for each broadcast, and their stats change with nothing else.
        """
        if replicas is not self._listed:
            self._candidates = [(r.replica_id, r.routing_stats) for r in replicas]
            self._listed = replicas
        return self._candidates

    async def _hold(self, hold: Hold) -> None:
        """Let a stream wait for news of the replicas.

        On the handle path it occupies one of Serve's routing tasks, which are two for each
        replica: few may, or others would wait for them.
        """
        self._held += 1
        try:
            await asyncio.sleep(hold.wait_s)
        finally:
            self._held -= 1

    def _refuse(self, shed: Shed, pending_request: PendingRequest | None) -> None:
        if pending_request is None:
            return
        error = BackPressureError(
            self.num_pending_requests, 0, TOO_MANY_REQUESTS, shed.retry_after_s
        )
        request_id = pending_request.metadata.internal_request_id
        if self._pending_requests_by_id.get(request_id) is not pending_request:
            # Direct streaming asks this coroutine itself, and again for as long as it has
            # no answer.
            raise RefusedError(f"{error} Retry after {shed.retry_after_s:g} s.")
        if not pending_request.future.done():
            pending_request.future.set_exception(error)
        self._remove_pending_request_from_indices(pending_request)

    def _stream(self, pending_request: PendingRequest | None) -> Stream | None:
        """The stream to place; None for what has no prompt and needs no place."""
        if pending_request is None:
            return None
        pending_request.routing_context.should_backoff = True
        # In direct streaming a client's word about its reader comes this way, too.
        if not pending_request.args:
            return None
        self._follow(pending_request)
        metadata = pending_request.metadata
        return Stream(
            metadata.internal_request_id,
            pending_request.future,
            pending_request.args[0],
            # The id that a replica knows it by on both paths.
            request_key=request_key(metadata.request_id),
            session_id=metadata.session_id,
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
            self.chooser.cancelled(request_id, future)
        else:
            self.chooser.sent(request_id, future.result().replica_id, future)


def _endpoints(replicas: list[RunningReplica]) -> dict[ReplicaID, str]:
    told = {r.replica_id: endpoint_of(r.routing_stats) for r in replicas}
    return {replica: endpoint for replica, endpoint in told.items() if endpoint}
