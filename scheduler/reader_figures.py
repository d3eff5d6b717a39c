"""What readers had of their streams, added up by class; no stream costs a step anything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qoe import Expectation, StreamTable
from telemetry import catalogue
from telemetry.engine_metrics import Values, values_of
from telemetry.report import TARGET_QOE

Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.intp]

_NUM_CLASSES = len(catalogue.CLASSES)
_SLACK_PERCENTILE = 5


class ReaderFigures:
    """Totals of the readers of one engine, by class, beside its `StreamTable`.

    Invariants:
        * Totals only grow.
        * A finished stream counts once in every total, also in `qoe_counts`.
    """

    _COLUMNS = ("class_index", "first_token_at_s")

    class_index: Floats
    first_token_at_s: Floats

    def __init__(self, readers: StreamTable) -> None:
        self._readers = readers
        for name in self._COLUMNS:
            setattr(self, name, np.zeros(readers.capacity))
        self._finished = np.zeros(_NUM_CLASSES)
        self._qoe_sum = np.zeros(_NUM_CLASSES)
        self._ttft_ratio_sum = np.zeros(_NUM_CLASSES)
        self._pace_ratio_sum = np.zeros(_NUM_CLASSES)
        self._stall_s = np.zeros(_NUM_CLASSES)
        self._qoe_counts = np.zeros((_NUM_CLASSES, len(catalogue.QOE_BOUNDS) + 1))

    def added(self, slot: int, expectation: Expectation) -> None:
        """The table has given `slot` to a stream."""
        missing = self._readers.capacity - self.class_index.size
        if missing:
            for name in self._COLUMNS:
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros(missing)]))
        self.class_index[slot] = catalogue.CLASSES.index(catalogue.class_of(expectation))
        # Of one that began elsewhere nobody here knows when: it counts as in time.
        self.first_token_at_s[slot] = self._readers.arrived_at_s[slot] + expectation.ttft_s

    def held(self, slots: Slots, passed_s: Floats) -> None:
        """The readers in `slots` were away: the table has moved their times by so much."""
        self.first_token_at_s[slots] += passed_s

    def delivering(self, slots: Slots, now_s: float) -> None:
        """The table is about to be told of tokens for `slots`."""
        begun = self._readers.delivered_tokens[slots] > 0
        stalled_s = (now_s - self._readers.read_until_s[slots]) * begun
        if stalled_s.max() > 0.0:
            self._stall_s += _sums(self.class_index[slots], np.maximum(stalled_s, 0.0))
        if not begun.all():
            self.first_token_at_s[slots[~begun]] = now_s

    def finished(self, slot: int, now_s: float, *, has_left: bool) -> None:
        """The stream in `slot` is over.

        Args:
            slot: Still the stream's in the table, which knows all its tokens.
            now_s: When it ended.
            has_left: Its reader would have read on: what it had until now is what counts.
        """
        readers, of_class = self._readers, int(self.class_index[slot])
        tokens = readers.delivered_tokens[slot]
        first_s = self.first_token_at_s[slot] if tokens else now_s
        waited_s = float(first_s - readers.arrived_at_s[slot])
        if has_left:
            qoe = float(readers.qoe(np.array([slot]), now_s)[0])
        else:
            qoe = readers.final_qoe(slot)
        self._finished[of_class] += 1
        self._qoe_sum[of_class] += qoe
        self._qoe_counts[of_class, np.searchsorted(catalogue.QOE_BOUNDS, qoe)] += 1
        self._ttft_ratio_sum[of_class] += max(waited_s, 0.0) / readers.ttft_s[slot]
        self._pace_ratio_sum[of_class] += self._pace_ratio(slot, tokens, first_s)

    def _pace_ratio(self, slot: int, tokens: float, first_s: float) -> float:
        """Pace of the tokens after the first by the reader's, at most 1."""
        if tokens == 0:
            return 0.0
        took_s = self._readers.last_token_at_s(slot) - first_s
        due_s = (tokens - 1) / self._readers.tds[slot]
        return float(due_s / took_s) if took_s > due_s else 1.0

    def values(self, slots: Slots, now_s: float) -> dict[str, Values]:
        """The totals, and how the streams in `slots` fare now, for `EngineMetrics`."""
        of_class = self.class_index[slots]
        is_below = self._readers.qoe(slots, now_s) < TARGET_QOE
        slack_s = self._readers.slack_s(slots, now_s)
        return {
            catalogue.QOE.name: values_of(self._qoe_counts.ravel()),
            catalogue.QOE_SUM.name: values_of(self._qoe_sum),
            catalogue.FINISHED.name: values_of(self._finished),
            catalogue.TTFT_RATIO_SUM.name: values_of(self._ttft_ratio_sum),
            catalogue.PACE_RATIO_SUM.name: values_of(self._pace_ratio_sum),
            catalogue.STALL_S.name: values_of(self._stall_s),
            catalogue.ACTIVE.name: values_of(_sums(of_class, np.ones(slots.size))),
            catalogue.BELOW_TARGET.name: values_of(_sums(of_class, is_below)),
            catalogue.SLACK_S.name: tuple(
                _low(slack_s[of_class == i]) for i in range(_NUM_CLASSES)
            ),
        }


def _sums(class_index: Floats, amounts: npt.ArrayLike) -> Floats:
    """Of `amounts`, by class."""
    indices = class_index.astype(np.intp)
    # Without streams numpy counts in integers.
    return np.bincount(indices, weights=amounts, minlength=_NUM_CLASSES).astype(float)


def _low(slack_s: Floats) -> float | None:
    return float(np.percentile(slack_s, _SLACK_PERCENTILE)) if slack_s.size else None
