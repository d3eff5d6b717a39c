"""When each token is shown: numbers only, no text, no asyncio, the clock passed in.

The rule. A reader reads `tds` tokens a second from the first token on: token i is expected
on the ideal line, at s_0 + i/tds. It is shown at

    s_0 = a_0                                               the first at once,
    s_i = max(a_i, s_0 + i/tds, s_{i-1} + 1/(catch_up·tds))  the others,

where a_i is when it arrived: never before the line, never later than the line where there
is a buffer, and after a stall faster than the reader's pace, `catch_up` times at most,
until the line is reached again. All of it is measured on the reader's clock, which stands
still while the reader has paused, and runs as much faster or slower as the pace is changed
or as tokens turn out to be fewer or more than they were taken for: what arrives during a
pause arrives, for the rule, when the pause began. A pace that is set before anything has
arrived is the reader's pace from the start.

A flush shows all that has arrived at once, and the line starts anew with the last of it.
Without a pace (`tds` none) every token is shown when it arrives. A token that is looked at
more than `LATE_LOOK_S` after its time was shown that long before the look.
"""

from __future__ import annotations

from collections import deque

from qoe.expectation import TDS_RANGE, require_in_range

# Half as fast again costs no comprehension: listeners at 1.5 times the speed answer as well
# as at 1 (Murphy et al. 2022, Learning in double time), and reading rates are in line with
# listening rates (Brysbaert 2019).
CATCH_UP = 1.5
CATCH_UP_RANGE = (1.0, 10.0)

# Timers are late by milliseconds, and what they are late by must not slow the stream down.
# Whoever looks later than this was away: that is a stall, and no reason for a jump.
LATE_LOOK_S = 0.1

# A look at the very time that `next_at_s` named may be a rounding error too early.
_ROUNDING_S = 1e-9


class Pace:
    """Releases the tokens of one stream to its reader.

    Times are seconds on one clock of the caller's, which never goes back; 0 is when the
    reader's request was sent.

    Invariants:
        `released <= arrived`, and tokens are released in order.
        Between two flushes no token is released before the ideal line.
        A look releases what is due, and nothing else does.

    Args:
        tds: The reader's pace, tokens/s; None for no pace.
        catch_up: Times the pace, at most, after a stall.

    Raises:
        ExpectationError: A value is out of its range.
    """

    def __init__(self, tds: float | None, *, catch_up: float = CATCH_UP) -> None:
        require_in_range("catch_up", catch_up, CATCH_UP_RANGE, "times the pace")
        self._catch_up = catch_up
        self._unpaced = tds is None
        self._set_pace(1.0 if tds is None else _checked(tds))
        self._rate = self._value = 1.0
        self._is_paused = False
        self._at_s = self._read_s = 0.0
        # When the tokens up to a count arrived, on the reader's clock; not released yet.
        self._arrivals: deque[tuple[float, int]] = deque()
        self._line_s: float | None = None
        self._last_s = 0.0
        self.arrived = self.released = 0

    def read_s(self, t_s: float) -> float:
        """What the reader's clock says at `t_s`."""
        return self._read_s + (t_s - self._at_s) * self._running_rate

    @property
    def is_paused(self) -> bool:
        """Whether the reader's clock stands still."""
        return self._is_paused

    def push(self, t_s: float, tokens: int) -> None:
        """`tokens` arrived, or none."""
        if tokens == 0:
            return
        self.arrived += tokens
        self._arrivals.append((self.read_s(t_s), self.arrived))

    def pause(self, t_s: float) -> None:
        """Release nothing more until `resume`."""
        self._set_clock(t_s)
        self._is_paused = True

    def resume(self, t_s: float) -> None:
        """Go on where the pause began."""
        self._set_clock(t_s)
        self._is_paused = False

    def speed(self, t_s: float, tds: float | None) -> None:
        """From now on `tds` tokens/s; None shows what has arrived, and all that will.

        Raises:
            ExpectationError: `tds` is out of range.
        """
        self._set_clock(t_s)
        self._unpaced = tds is None
        if tds is None:
            return
        if self.arrived == 0:
            self._set_pace(_checked(tds))
        else:
            self._rate = _checked(tds) * self._token_s / self._value

    def revalue(self, t_s: float, value: float) -> None:
        """What was pushed as one token is `value` of them: the pace goes by that now."""
        self._set_clock(t_s)
        self._rate *= self._value / value
        self._value = value

    def flush(self, t_s: float) -> None:
        """Release all that has arrived, also during a pause."""
        if self.released == self.arrived:
            return
        self.released = self.arrived
        self._arrivals.clear()
        self._last_s = self.read_s(t_s)
        self._line_s = self._last_s - (self.released - 1) * self._token_s

    def look(self, t_s: float) -> int:
        """How many tokens have been released so far, with those that are due by `t_s`."""
        if self._is_paused:
            return self.released
        if self._unpaced:
            self.flush(t_s)
        now_s = self.read_s(t_s)
        earliest_s = now_s - LATE_LOOK_S * self._rate
        while self._arrivals and (due_s := self._due_s()) <= now_s + _ROUNDING_S:
            self._release(max(due_s, earliest_s))
        return self.released

    def next_at_s(self) -> float | None:
        """When the next token is due; None while none has arrived, or during a pause."""
        if self._is_paused or not self._arrivals:
            return None
        due_s = self._arrivals[0][0] if self._unpaced else self._due_s()
        return self._at_s + (due_s - self._read_s) / self._rate

    def slack_s(self, t_s: float) -> float:
        """Seconds of text left to read; negative for a reader who waits for more."""
        read_to_s = self._last_s + (self.arrived - self.released + 1) * self._token_s
        return (read_to_s - self.read_s(t_s)) / self._rate if self.released else 0.0

    @property
    def _running_rate(self) -> float:
        return 0.0 if self._is_paused else self._rate

    def _set_pace(self, tds: float) -> None:
        self._token_s = 1.0 / tds
        self._least_gap_s = self._token_s / self._catch_up

    def _set_clock(self, t_s: float) -> None:
        self._read_s, self._at_s = self.read_s(t_s), t_s

    def _due_s(self) -> float:
        arrived_s = self._arrivals[0][0]
        if self._line_s is None:
            return arrived_s
        return max(
            arrived_s,
            self._line_s + self.released * self._token_s,
            self._last_s + self._least_gap_s,
        )

    def _release(self, due_s: float) -> None:
        if self._line_s is None:
            self._line_s = due_s
        self._last_s = due_s
        self.released += 1
        if self.released == self._arrivals[0][1]:
            self._arrivals.popleft()


def _checked(tds: float) -> float:
    return require_in_range("tds", tds, TDS_RANGE, "tokens/s")
