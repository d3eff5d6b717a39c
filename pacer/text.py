"""What may be shown of a text that is still being written: whole characters, whole words.

A character as a person sees it (a grapheme cluster, UAX #29) may go on in the next delta:
an accent after its letter, the second half of a flag, the rest of a family. The last
cluster of the text is therefore held until

- more text has come, which says where it ends, or
- the stream has ended, or
- `hold_s` have passed since it last grew, unless it is of a kind that often goes on
  (a pictograph, half a flag, a joiner, a lone leading jamo, a carriage return, half a
  surrogate pair): that waits.

With whole words, so is the last word. Words end at white space; in scripts written without
it every character is a word. A run of `MAX_WORD` clusters is no word and is let through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import regex

# What a person takes to be instant (Miller 1968): a wait this long is not noticed.
HOLD_S = 0.1
HOLD_RANGE_S = (0.0, 60.0)
MAX_WORD = 32

# A service that cuts UTF-16 sends halves of characters.
_CLUSTERS = regex.compile(r"[\ud800-\udbff][\udc00-\udfff]|\X")
_OFTEN_GOES_ON = regex.compile(
    r"\p{Extended_Pictographic}|^\p{Regional_Indicator}$|[\u200d\ufe0f\r\ud800-\udbff]$"
    r"|^[\u1100-\u115f\ua960-\ua97c]+$"
)
_IS_A_WORD_OF_ITS_OWN = regex.compile(
    r"^[\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}"
    r"\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]"
)


@dataclass(slots=True)
class Piece:
    """Text that is shown together: with the last of its tokens.

    Attributes:
        first: Index of the token in which it begins.
        last: Index of the token in which it ends.
    """

    text: str
    first: int
    last: int


class Text:
    """The text of one stream that has not been shown.

    Invariants:
        What is taken, in order, is the text that was pushed.
        What is taken ends between two clusters, as far as was known at the time.

    Args:
        whole_words: Hold the last word too.
        hold_s: How long a cluster that may go on is held.
    """

    def __init__(self, *, whole_words: bool, hold_s: float) -> None:
        self._whole_words, self._hold_s = whole_words, hold_s
        self._settled: deque[Piece] = deque()
        self._word: list[Piece] = []
        self._tail: Piece | None = None
        self._tail_at_s = 0.0

    def push(self, t_s: float, text: str, tokens: Sequence[int]) -> None:
        """`text`, not empty, arrived; its code points are parts of these `tokens`."""
        tail, self._tail = self._tail or Piece("", tokens[0], tokens[0]), None
        # Of the delta; what is left of the one before lies before 0.
        position = -len(tail.text)
        for cluster in _CLUSTERS.findall(tail.text + text):
            end = position + len(cluster)
            begins = tail.first if position < 0 else tokens[position]
            ends = tail.last if end <= 0 else tokens[end - 1]
            position = end
            self._advance(Piece(cluster, begins, ends))
        self._tail_at_s = t_s

    def settle(self, t_s: float) -> None:
        """Let go of a last cluster that has been held for long enough."""
        due_s = self.settles_at_s
        if due_s is not None and due_s <= t_s:
            self._advance(None)

    def settle_words(self) -> None:
        """Let go of the last word, but for a cluster that may go on."""
        if self._word:
            text = "".join(piece.text for piece in self._word)
            self._show(Piece(text, self._word[0].first, self._word[-1].last))
            self._word.clear()

    def end(self) -> None:
        """No more text will come."""
        self._advance(None)
        self.settle_words()

    @property
    def settles_at_s(self) -> float | None:
        """When the last cluster has been held for long enough; None: not by waiting."""
        if self._tail is None or _OFTEN_GOES_ON.search(self._tail.text):
            return None
        return self._tail_at_s + self._hold_s

    def can_take(self, released: int) -> bool:
        """Whether `take` has something to give."""
        return bool(self._settled) and self._settled[0].last < released

    def take(self, released: int) -> str:
        """The text of the first `released` tokens that was not taken and may be shown."""
        taken = []
        while self.can_take(released):
            taken.append(self._settled.popleft().text)
        return "".join(taken)

    @property
    def first_hidden(self) -> int | None:
        """Index of the token in which the text not taken begins; None: all was taken."""
        hidden = self._settled or self._word or (self._tail and [self._tail])
        return hidden[0].first if hidden else None

    def _advance(self, tail: Piece | None) -> None:
        """`tail` is now the last cluster, and the one before it is whole."""
        before, self._tail = self._tail, tail
        if before is None:
            return
        if not self._whole_words:
            self._show(before)
            return
        if _IS_A_WORD_OF_ITS_OWN.match(before.text):
            self.settle_words()
            self._show(before)
        else:
            self._word.append(before)
        ends_word = tail is not None and _IS_A_WORD_OF_ITS_OWN.match(tail.text)
        if ends_word or len(self._word) >= MAX_WORD:
            self.settle_words()

    def _show(self, piece: Piece) -> None:
        if self._settled and self._settled[-1].last == piece.last:
            self._settled[-1].text += piece.text
        else:
            self._settled.append(piece)
