"""What a reader sees of one stream, and when: the pace, the text and the log together.

No clock and no asyncio: events come in with their time, and `look` says what to show. The
same rules in JavaScript give the same times (`vectors.json`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict

from pacer.pace import CATCH_UP, Pace
from pacer.text import HOLD_RANGE_S, HOLD_S, Text
from pacer.tokens import PLAUSIBLE, Tokens
from qoe import PROFILES, Expectation, area_qoe
from qoe.expectation import require_in_range

AtEnd = Literal["flush", "pace"]


class Showing(TypedDict, total=False):
    """The options with a default, by name; see `Options`."""

    catch_up: float
    at_end: AtEnd
    whole_words: bool
    hold_s: float


@dataclass(frozen=True, slots=True)
class Options:
    """How one stream is shown.

    Attributes:
        expectation: What its reader expects; its `tds` is the pace.
        is_paced: False shows text as it comes.
        catch_up: Times the pace, at most, after a stall (1 to 10).
        at_end: What happens to the text that is left when the stream has ended. `pace`
            goes on at the pace to the last token: engines end long before readers do.
            `flush` shows it at once: the reader has the whole answer as soon as it exists.
        whole_words: Show words with their last token, never a part of one.
        hold_s: How long a last letter is held that an accent may follow.

    Raises:
        ExpectationError: A value is out of range.
    """

    expectation: Expectation = PROFILES["reading"].expectation
    is_paced: bool = True
    catch_up: float = CATCH_UP
    at_end: AtEnd = "pace"
    whole_words: bool = False
    hold_s: float = HOLD_S

    def __post_init__(self) -> None:
        require_in_range("hold_s", self.hold_s, HOLD_RANGE_S, "seconds")
        if self.at_end not in ("flush", "pace"):
            raise ValueError(
                f"at_end={self.at_end!r} is invalid: it must be flush or pace."
            )


@dataclass(slots=True)
class Log:
    """When each token came and when the reader saw all of its text; seconds since 0.

    A token without text is no token for the reader: it counts as one of those that the
    next text is made of, of which there are no more than the text has bytes in UTF-8.
    """

    delivered_at_s: list[float] = field(default_factory=list)
    shown_at_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Qoe:
    """Area QoE, 0 to 1, of one stream so far, on the reader's clock: pauses do not count.

    Attributes:
        delivered: Of the tokens as they came.
        shown: Of the tokens as they were shown.
    """

    delivered: float
    shown: float


class Page:
    """One stream on its way to its reader. Times are seconds since the request was sent.

    Invariants:
        Events and looks come in order of time.
        The texts of all looks, joined, are what was pushed, once the stream is done.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._expectation = options.expectation
        self._pace = Pace(
            options.expectation.tds if options.is_paced else None, catch_up=options.catch_up
        )
        self._text = Text(whole_words=options.whole_words, hold_s=options.hold_s)
        self._tokens = Tokens()
        self._textless = 0
        self._has_ended = self._is_flushing = False
        self.log = Log()
        # The same times on the reader's clock.
        self._read = Log()

    def push(self, t_s: float, text: str, tokens: int | None = None) -> None:
        """A delta arrived: `text`, made of `tokens` tokens; None: nobody says how many."""
        if not text:
            self._textless += tokens or 0
            return
        if tokens is not None:
            # Reasoning that the service left out must not be waited for.
            most = len(text.encode("utf-8", "replace"))
            tokens = max(1, min(tokens + self._textless, most))
        self._textless = 0
        self._text.push(t_s, text, self._tokens.place(text, tokens))
        new = self._tokens.begun - self._pace.arrived
        self._pace.push(t_s, new)
        self.log.delivered_at_s += [t_s] * new
        self._read.delivered_at_s += [self._pace.read_s(t_s)] * new

    def recount(self, t_s: float, tokens: int) -> None:
        """All the text so far is made of `tokens` tokens; what is left is paced by that."""
        estimated = self._pace.arrived
        # Otherwise somebody counts something else, such as reasoning that was left out.
        if estimated and 1 / PLAUSIBLE <= tokens / estimated <= PLAUSIBLE:
            self._pace.revalue(t_s, tokens / estimated)

    def end(self) -> None:
        """No more deltas will come."""
        self._has_ended = True
        self._text.end()

    def flush(self, t_s: float) -> None:
        """Show all whole characters that have arrived, even during a pause."""
        self._pace.flush(t_s)
        self._text.settle_words()
        self._is_flushing = True

    def pause(self, t_s: float) -> None:
        """Show nothing more until `resume`."""
        self._pace.pause(t_s)

    def resume(self, t_s: float) -> None:
        """Go on where the pause began."""
        self._pace.resume(t_s)

    def speed(self, t_s: float, tds: float | None) -> None:
        """Go on at `tds` tokens/s; None shows text as it comes.

        Raises:
            ExpectationError: `tds` is out of range.
        """
        self._pace.speed(t_s, tds)
        if tds is not None and not self._pace.arrived:
            self._expectation = replace(self._expectation, tds=tds)

    def look(self, t_s: float) -> str:
        """The text to show now, often empty."""
        if self._pace.is_paused and not self._is_flushing:
            return ""
        self._is_flushing = False
        if self._has_ended and self._options.at_end == "flush":
            self._pace.flush(t_s)
        released = self._pace.look(t_s)
        self._text.settle(t_s)
        text = self._text.take(released)
        self._note_shown(t_s, released)
        return text

    def next_at_s(self) -> float | None:
        """When to look next, unless something happens before; None: not by waiting.

        A time that has passed means now.
        """
        if self._pace.is_paused and not self._is_flushing:
            return None
        if self._text.can_take(self._pace.released):
            return 0.0
        due_s = self._pace.next_at_s()
        first = self._text.first_hidden
        if first is None or first >= self._pace.released:
            return due_s
        held_s = self._text.settles_at_s
        return min((t for t in (due_s, held_s) if t is not None), default=None)

    @property
    def is_done(self) -> bool:
        """Whether the stream has ended and all of it was shown."""
        return self._has_ended and self._text.first_hidden is None

    @property
    def is_paused(self) -> bool:
        """Whether the reader has paused."""
        return self._pace.is_paused

    @property
    def tokens_left(self) -> int:
        """Tokens that arrived and were not shown."""
        return len(self.log.delivered_at_s) - len(self.log.shown_at_s)

    def slack_s(self, t_s: float) -> float:
        """Seconds of text left to read; negative for a reader who waits."""
        return self._pace.slack_s(t_s)

    @property
    def qoe(self) -> Qoe:
        """The scores so far."""
        return Qoe(
            self._score(self._read.delivered_at_s), self._score(self._read.shown_at_s)
        )

    def _score(self, at_s: Sequence[float]) -> float:
        return area_qoe(at_s, self._expectation)

    def _note_shown(self, t_s: float, released: int) -> None:
        hidden = self._text.first_hidden
        shown = released if hidden is None else min(released, hidden)
        if self.is_done:
            shown = self._pace.arrived
        new = shown - len(self.log.shown_at_s)
        self.log.shown_at_s += [t_s] * new
        self._read.shown_at_s += [self._pace.read_s(t_s)] * new
