"""Every live stream of one engine as numpy arrays.

For a stream with pace r and n delivered tokens the reader is busy until e, and has digested
A(t) = n − r·(e − t)⁺ tokens at time t. Both areas of the score follow from (n, e) alone, so
a step costs one vectorised update and a forecast (`qoe.forecast`) costs no simulation.

The clock of a reader who is away stands still: all times of its stream move on with the
engine's, so that nothing is expected of it and nothing is read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qoe.expectation import Expectation
from qoe.forecast import Floats, Forecast, score
from qoe.metrics import expected_area

Slots = npt.NDArray[np.intp]

# Seconds until a reader notices who is away; it has no end that anybody knows.
AWAY_SLACK_S = 3600.0


class StreamTable:
    """QoE state of the live streams, indexed by slot.

    Times are absolute seconds on the caller's monotonic clock. Slots are dense small
    integers, reused after `remove`; columns are read by the owner, written only here.

    Invariants:
        * `len(table)` is the number of streams added and not removed.
        * `read_until_s` never falls behind the delivery that set it.
        * Memory grows with the highest number of streams alive at once, never with time.

    Attributes:
        away_until_s: When the reader of the slot is thought to be back; 0 while it reads.
        num_away: How many of the live streams have a reader who is away.
    """

    _COLUMNS = (
        "arrived_at_s",
        "ttft_s",
        "tds",
        "delivered_tokens",
        "read_until_s",
        "away_until_s",
        "_area",
        "_area_at_s",
        "_expects_from_s",
        "_expected_before",
        "_held_at_s",
    )
    # The times that stand still while the reader is away.
    _HELD = ("arrived_at_s", "read_until_s", "_area_at_s", "_expects_from_s")

    arrived_at_s: Floats
    ttft_s: Floats
    tds: Floats
    delivered_tokens: Floats
    read_until_s: Floats
    away_until_s: Floats
    _area: Floats
    _area_at_s: Floats
    _expects_from_s: Floats
    _expected_before: Floats
    _held_at_s: Floats

    def __init__(self, capacity: int = 256) -> None:
        for name in self._COLUMNS:
            setattr(self, name, np.zeros(capacity))
        self._free = list(range(capacity - 1, -1, -1))
        self.num_away = 0

    def __len__(self) -> int:
        return self.capacity - len(self._free)

    @property
    def capacity(self) -> int:
        """Slots allocated so far; other columns of the same streams use this length."""
        return int(self.tds.size)

    def add(
        self,
        expectation: Expectation,
        arrived_at_s: float,
        delivered_tokens: int = 0,
        read_until_s: float = 0.0,
    ) -> int:
        """A slot for a stream submitted at `arrived_at_s`.

        Args:
            expectation: Of its reader.
            arrived_at_s: When its reader asked, also if others have served it since.
            delivered_tokens: What they delivered, thought to have been read without a
                pause.
            read_until_s: When its reader is through with that; of no account for 0 tokens.
        """
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.arrived_at_s[slot] = arrived_at_s
        self.ttft_s[slot] = expectation.ttft_s
        self.tds[slot] = expectation.tds
        self.delivered_tokens[slot] = delivered_tokens
        self.read_until_s[slot] = read_until_s if delivered_tokens else arrived_at_s
        reading_since_s = self.read_until_s[slot] - delivered_tokens / expectation.tds
        self._area[slot] = 0.0
        self._expects_from_s[slot] = arrived_at_s + expectation.ttft_s
        self._expected_before[slot] = 0.0
        # Nothing was digested before.
        self._area_at_s[slot] = max(arrived_at_s, reading_since_s)
        return slot

    def remove(self, slot: int) -> None:
        """Forget a stream; its slot may be handed out again at once."""
        if self.away_until_s[slot]:
            self._set_away(np.array([slot]), np.zeros(1))
        self._free.append(slot)

    def deliver(self, slots: Slots, tokens: Floats, now_s: float) -> None:
        """Record `tokens[i]` tokens delivered to `slots[i]`; slots are unique."""
        self._area[slots] = self._area_until(slots, now_s)
        self._area_at_s[slots] = now_s
        read_until_s = np.maximum(self.read_until_s[slots], now_s)
        self.read_until_s[slots] = read_until_s + tokens / self.tds[slots]
        self.delivered_tokens[slots] += tokens

    def on_feedback(
        self,
        slots: Slots,
        buffer_tokens: Floats,
        tds: Floats,
        away_until_s: Floats,
        now_s: float,
    ) -> None:
        """Take the readers' own word for where they are; shapes (n,), NaN: not said.

        Args:
            slots: Of their streams, unique, held up to `now_s`.
            buffer_tokens: Delivered and not read, >= 0; no more than was delivered counts.
            tds: Pace from now on.
            away_until_s: When they will be back; 0 for those who are.
            now_s: Time of their word.
        """
        self._area[slots] = self._area_until(slots, now_s)
        self._area_at_s[slots] = now_s
        old_tds, busy_until_s = self.tds[slots], self.read_until_s[slots]
        self._expect_at(slots, np.where(np.isnan(tds), old_tds, tds), now_s)
        unread = np.maximum(busy_until_s - now_s, 0.0) * old_tds
        said = np.minimum(buffer_tokens, self.delivered_tokens[slots])
        unread = np.where(np.isnan(buffer_tokens), unread, said)
        # Who has nothing left to read may have had nothing for a while.
        self.read_until_s[slots] = np.where(
            unread > 0.0,
            now_s + unread / self.tds[slots],
            np.minimum(busy_until_s, now_s),
        )
        is_said = ~np.isnan(away_until_s)
        self._set_away(slots[is_said], away_until_s[is_said])
        self._held_at_s[slots] = now_s

    def hold(self, now_s: float) -> tuple[Slots, Floats]:
        """Stop the clocks of those away until `now_s`, and let those back in who are due.

        Returns:
            Their slots, and by how many seconds the times of each have moved.
        """
        away = np.flatnonzero(self.away_until_s)
        until_s = np.minimum(self.away_until_s[away], now_s)
        passed_s = until_s - self._held_at_s[away]
        for name in self._HELD:
            getattr(self, name)[away] += passed_s
        self._held_at_s[away] = until_s
        is_back = self.away_until_s[away] <= now_s
        self._set_away(away[is_back], np.zeros(int(is_back.sum())))
        return away, passed_s

    def is_away(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Whose reader reads nothing for now, shape (n,)."""
        away: npt.NDArray[np.bool_] = self.away_until_s[slots] > 0.0
        return away

    def slack_s(self, slots: Slots, now_s: float) -> Floats:
        """Seconds until the reader notices, if nothing more came: negative once late.

        For a started stream this is the buffered reading time; before the first token it
        is what is left of the expected TTFT; `AWAY_SLACK_S` for a reader who is away.
        """
        due_s = np.where(
            self.delivered_tokens[slots] > 0,
            self.read_until_s[slots],
            self.arrived_at_s[slots] + self.ttft_s[slots],
        )
        slack: Floats = np.where(self.is_away(slots), AWAY_SLACK_S, due_s - now_s)
        return slack

    def qoe(self, slots: Slots, now_s: float) -> Floats:
        """Area QoE up to `now_s` of streams that have more to say, shape (n,)."""
        return score(self._area_until(slots, now_s), self._expected_area(slots, now_s))

    def last_token_at_s(self, slot: int) -> float:
        """When tokens last came; the arrival before the first."""
        return float(self._area_at_s[slot])

    def final_qoe(self, slot: int) -> float:
        """Area QoE of a stream that has said everything: `area_qoe` of its deliveries."""
        tokens = float(self.delivered_tokens[slot])
        if tokens == 0.0:
            return 0.0
        reader = Expectation(float(self.ttft_s[slot]), float(self.tds[slot]))
        expecting_s = self.last_token_at_s(slot) - float(self._expects_from_s[slot])
        expected = expected_area(expecting_s + reader.ttft_s, tokens, reader)
        expected += float(self._expected_before[slot])
        return min(float(self._area[slot]) / expected, 1.0) if expected > 0.0 else 1.0

    def forecast(self, slots: Slots, now_s: float, horizon_s: float) -> Forecast:
        """What becomes of these streams within `horizon_s`, > 0.

        Those away gain nothing by being served and lose nothing by waiting.
        """
        end_s = now_s + horizon_s
        buffered_until_s = np.maximum(self.read_until_s[slots], now_s)
        buffered_area = self._area_until(slots, end_s)
        expected_area = self._expected_area(slots, end_s)
        if self.num_away:
            is_away = self.is_away(slots)
            buffered_until_s[is_away] = end_s
            buffered_area[is_away] = expected_area[is_away]
        return Forecast(
            now_s=now_s,
            end_s=end_s,
            tds=self.tds[slots],
            buffered_until_s=buffered_until_s,
            buffered_area=buffered_area,
            expected_area=expected_area,
        )

    def _area_until(self, slots: Slots, end_s: float) -> Floats:
        """∫ A dt from submission to `end_s`, without further deliveries."""
        from_s = self._area_at_s[slots]
        busy_until_s = self.read_until_s[slots]
        unread_then = np.maximum(busy_until_s - from_s, 0.0)
        unread_at_end = np.maximum(busy_until_s - end_s, 0.0)
        digested: Floats = (
            self.delivered_tokens[slots] * (end_s - from_s)
            - self.tds[slots] * (unread_then**2 - unread_at_end**2) / 2.0
        )
        return self._area[slots] + digested

    def _expected_area(self, slots: Slots, end_s: float) -> Floats:
        """What the reader would have digested by `end_s`, were nobody ever late."""
        late_s = np.maximum(end_s - self._expects_from_s[slots], 0.0)
        expected: Floats = self.tds[slots] * late_s**2 / 2.0
        return expected + self._expected_before[slots]

    def _expect_at(self, slots: Slots, tds: Floats, now_s: float) -> None:
        """Let the expected line go on at another pace from where it is.

        It is kept as a line at the new pace that began when it would have had to, and the
        area by which the true one differs from it.
        """
        old_tds, from_s = self.tds[slots], self._expects_from_s[slots]
        due_tokens = np.maximum(now_s - from_s, 0.0) * old_tds
        self._expected_before[slots] += due_tokens**2 / 2.0 * (1.0 / old_tds - 1.0 / tds)
        self._expects_from_s[slots] = np.where(
            due_tokens > 0.0, now_s - due_tokens / tds, from_s
        )
        self.tds[slots] = tds

    def _set_away(self, slots: Slots, until_s: Floats) -> None:
        before = np.count_nonzero(self.away_until_s[slots])
        self.away_until_s[slots] = until_s
        self.num_away += int(np.count_nonzero(until_s) - before)

    def _grow(self) -> None:
        old = self.capacity
        for name in self._COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), np.zeros(old)]))
        self._free.extend(range(2 * old - 1, old - 1, -1))
