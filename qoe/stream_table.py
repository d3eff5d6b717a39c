"""Every live stream of one engine as numpy arrays.

For a stream with pace r and n delivered tokens the reader is busy until e, and has digested
A(t) = n − r·(e − t)⁺ tokens at time t. Both areas of the score follow from (n, e) alone, so
a step costs one vectorised update and a forecast (`qoe.forecast`) costs no simulation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qoe.expectation import Expectation
from qoe.forecast import Floats, Forecast, score
from qoe.metrics import expected_area

Slots = npt.NDArray[np.intp]


class StreamTable:
    """QoE state of the live streams, indexed by slot.

    Times are absolute seconds on the caller's monotonic clock. Slots are dense small
    integers, reused after `remove`; columns are read by the owner, written only here.

    Invariants:
        * `len(table)` is the number of streams added and not removed.
        * `read_until_s` never falls behind the delivery that set it.
        * Memory grows with the highest number of streams alive at once, never with time.
    """

    _COLUMNS = (
        "arrived_at_s",
        "ttft_s",
        "tds",
        "delivered_tokens",
        "read_until_s",
        "_area",
        "_area_at_s",
    )

    arrived_at_s: Floats
    ttft_s: Floats
    tds: Floats
    delivered_tokens: Floats
    read_until_s: Floats
    _area: Floats
    _area_at_s: Floats

    def __init__(self, capacity: int = 256) -> None:
        for name in self._COLUMNS:
            setattr(self, name, np.zeros(capacity))
        self._free = list(range(capacity - 1, -1, -1))

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
        # Nothing was digested before.
        self._area_at_s[slot] = max(arrived_at_s, reading_since_s)
        return slot

    def remove(self, slot: int) -> None:
        """Forget a stream; its slot may be handed out again at once."""
        self._free.append(slot)

    def deliver(self, slots: Slots, tokens: Floats, now_s: float) -> None:
        """Record `tokens[i]` tokens delivered to `slots[i]`; slots are unique."""
        self._area[slots] = self._area_until(slots, now_s)
        self._area_at_s[slots] = now_s
        read_until_s = np.maximum(self.read_until_s[slots], now_s)
        self.read_until_s[slots] = read_until_s + tokens / self.tds[slots]
        self.delivered_tokens[slots] += tokens

    def slack_s(self, slots: Slots, now_s: float) -> Floats:
        """Seconds until the reader notices, if nothing more came: negative once late.

        For a started stream this is the buffered reading time; before the first token it
        is what is left of the expected TTFT.
        """
        due_s = np.where(
            self.delivered_tokens[slots] > 0,
            self.read_until_s[slots],
            self.arrived_at_s[slots] + self.ttft_s[slots],
        )
        slack: Floats = due_s - now_s
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
        taken_s = self.last_token_at_s(slot) - float(self.arrived_at_s[slot])
        reader = Expectation(float(self.ttft_s[slot]), float(self.tds[slot]))
        expected = expected_area(taken_s, tokens, reader)
        return min(float(self._area[slot]) / expected, 1.0) if expected > 0.0 else 1.0

    def forecast(self, slots: Slots, now_s: float, horizon_s: float) -> Forecast:
        """What becomes of these streams within `horizon_s`, > 0."""
        end_s = now_s + horizon_s
        return Forecast(
            now_s=now_s,
            end_s=end_s,
            tds=self.tds[slots],
            buffered_until_s=np.maximum(self.read_until_s[slots], now_s),
            buffered_area=self._area_until(slots, end_s),
            expected_area=self._expected_area(slots, end_s),
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
        late_s = np.maximum(end_s - self.arrived_at_s[slots] - self.ttft_s[slots], 0.0)
        expected: Floats = self.tds[slots] * late_s**2 / 2.0
        return expected

    def _grow(self) -> None:
        old = self.capacity
        for name in self._COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), np.zeros(old)]))
        self._free.extend(range(2 * old - 1, old - 1, -1))
