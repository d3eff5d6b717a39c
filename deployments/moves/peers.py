"""The other replicas of a deployment, through Serve's handle to it.

A handle finds replicas, keeps to their limits, hears that one died and cancels there what
is cancelled here; only its choice is not wanted, and our router leaves it to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from ray import serve

from deployments.moves.contract import HandOver, Response
from router.peers import choose_nothing, endpoints_of
from telemetry.broadcast import ReportListener
from telemetry.report import EngineReport


class Peers:
    """All replicas of the deployment that this process is a replica of.

    Args:
        own_report: What the engine here said last; None before the first.

    Attributes:
        home: Id of this replica.
    """

    def __init__(self, own_report: Callable[[], EngineReport | None]) -> None:
        replica_id = serve.get_replica_context().replica_id
        self.home: str = replica_id.unique_id
        self._own_report = own_report
        self._deployment = str(replica_id.deployment_id)
        choose_nothing(self._deployment)
        # The handle is there before the application is.
        handle = serve.get_deployment_handle(
            replica_id.deployment_id.name,
            replica_id.deployment_id.app_name,
            _check_exists=False,
        )
        self._take_over = handle.options(method_name="take_over", stream=True)
        self._listener = ReportListener()

    def ask(self, hand_over: HandOver) -> Response:
        """Ask the replica that is meant to go on with a stream."""
        response: Response = self._take_over.remote(hand_over)
        return response

    def replicas(self) -> Sequence[str]:
        """Ids of all, this one included."""
        others: dict[Hashable, str] = {
            name: where
            for name, where in endpoints_of(self._deployment).items()
            if name != self.home
        }
        self._listener.listen_to(others)
        return [self.home, *map(str, others)]

    def reports(self) -> Iterable[tuple[Any, EngineReport]]:
        """What they have said since the last call, and what this one said last."""
        yield from self._listener.poll()
        if (report := self._own_report()) is not None:
            yield self.home, report

    def close(self) -> None:
        """Listen to nobody any more."""
        self._listener.close()
