"""The moves of one replica: its streams, the others, and what Prometheus gets to know."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from deployments.moves.contract import Fleet
from deployments.moves.streams import Moves
from qoe import Expectation
from router.mover import MoveSettings
from telemetry.catalogue import MOVE_METRICS, MOVES
from telemetry.instruments import Framework, Instruments
from telemetry.ticker import Ticker

METRICS_PERIOD_S = 1.0


class Peers(Fleet, Protocol):
    """The other replicas, for as long as this one lives."""

    def close(self) -> None: ...


class Moving:
    """Has others go on with streams that wait here, until it is closed.

    Args:
        engine: The replica's; one of `ResumableEngine`.
        peers: The other replicas; closed with this.
        settings: The fields of `MoveSettings`.
        default: What a reader expects who says nothing.
        framework: Where its counts are published: `ray.serve.metrics` in a replica.
        period_s: Seconds between two times.
    """

    def __init__(
        self,
        engine: Any,
        peers: Peers,
        settings: Mapping[str, Any],
        default: Expectation,
        framework: Framework,
        period_s: float = METRICS_PERIOD_S,
    ) -> None:
        self._peers = peers
        self._moves = Moves(peers, MoveSettings.model_validate(settings), default)
        self._instruments = Instruments(framework, MOVE_METRICS)
        engine.let_move(self._moves)
        self._watch = asyncio.create_task(self._moves.watch())
        self._ticker = Ticker("andes-moves", self._publish, period_s)

    @property
    def counts(self) -> dict[str, int]:
        """Streams by what became of them, as in the metric `andes_moves`."""
        return {name: self._moves.counts[name] for name in MOVES.labels["outcome"]}

    def close(self) -> None:
        """Ask nobody any more; streams that others write are relayed to their end."""
        self._watch.cancel()
        self._ticker.close()
        self._peers.close()

    def _publish(self) -> None:
        values = {MOVES.name: tuple(self.counts.values())}
        self._instruments.publish(self._peers.home, values)
