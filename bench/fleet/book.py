"""What became of each stream of a fleet: scored when it ends, and forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.fleet.load import LoadColumns
from bench.replay.results import OnProgress
from bench.scores import Scores
from qoe.metrics import Floats

_NOWHERE = -1


class Book:
    """Rows of the load, each ended once: served, failed, or refused before the run.

    Attributes:
        scores: Of every stream, failed and refused ones included.
        replica_of: Where each stream ended; -1 for nowhere.
        num_open: Streams that have not ended.
        failed: Streams that ended before their last token, but for those refused.
        out_of_patience: Streams that an engine refused.
        rerouted: Times that a stream without a token was placed anew.
        resumed: Times that a stream with tokens was continued.
    """

    def __init__(
        self, load: LoadColumns, refused: int, on_progress: OnProgress | None
    ) -> None:
        self.scores = Scores(load.arrival_s.tolist())
        self.replica_of = np.full(len(load), _NOWHERE, dtype=np.int16)
        self.num_open = len(load) - refused
        self.failed = self.rerouted = self.resumed = 0
        self.out_of_patience = 0
        self._load = load
        self._earlier_s: dict[int, list[float]] = {}
        self._on_progress = on_progress
        self._report_progress()

    def ended(self, row: int, replica: int, delivered_at_s: Sequence[float]) -> None:
        """Score a stream; the times are those of its last replica."""
        stream = self._load[row]
        times_s = self.times_s(row, delivered_at_s)
        self._earlier_s.pop(row, None)
        self.scores.score(row, times_s - stream.arrival_s, stream.expectation)
        self.replica_of[row] = replica
        # Who has no token when a replica dies is placed anew.
        if not times_s.size and replica != _NOWHERE:
            self.out_of_patience += 1
        else:
            self.failed += int(times_s.size < stream.output_tokens)
        self.num_open -= 1
        self._report_progress()

    def lost(self, row: int) -> None:
        """End a stream that no replica is left for."""
        self.ended(row, _NOWHERE, [])

    def times_s(self, row: int, delivered_at_s: Sequence[float]) -> Floats:
        """When every token of a stream came, those of earlier replicas first."""
        times_s: Floats = np.array([*self._earlier_s.get(row, []), *delivered_at_s])
        return times_s

    def keep(self, row: int, times_s: Floats) -> None:
        """Remember what came of a stream that goes on elsewhere."""
        self._earlier_s[row] = times_s.tolist()

    def _report_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(len(self.scores) - self.num_open, len(self.scores))
