"""How many tokens a text is, where nobody counts them, and which of them is where.

A text is worth a sum over its code points, by their script: characters a token differ by a
factor of five between English and Chinese, and little between the tokenizers of today. The
sum does not depend on how the text is cut into deltas.

What a stream tells corrects it. Counted tokens teach what its code points are worth. And
most services send a token a delta: where the deltas look like tokens, each of them is one.
They do not where they are worth more than that, or many of them span two words, nor where
they are so small that somebody must have cut the tokens up.
"""

from __future__ import annotations

import math
from collections import defaultdict

import regex

# Tokens a code point, rounded: with them no text of fifteen languages, Markdown and code is
# a fifth off what Tekken (Mistral's 131k tokens, 2024) writes: `python -m evidence.tokens`.
WORTH = {
    "space": 0.03,
    "control": 0.2,
    "number": 1.0,
    "han": 0.9,
    "kana": 0.6,
    "hangul": 0.65,
    "ascii": 0.25,
    "latin": 0.6,
    "cyrillic": 0.33,
    "letter": 0.45,
    "punctuation": 0.6,
    "astral": 2.0,
    "other": 0.9,
}
# Few words are longer: what is, such as keys and names in code, is written in small pieces.
WORD_LETTERS = 10
WORTH_PAST_WORD = 0.6
_ALPHABETS = frozenset({"ascii", "latin", "cyrillic", "letter"})

# Tokenizers differ by as much: Tekken writes Greek in 2.6 characters a token, the one of
# Mistral 7B in 1.0. What differs by more is something else.
PLAUSIBLE = 3.0
# Fewer deltas than that look like anything. Tokens of one text are worth 0.8 to 1.3 each;
# and a share of the deltas may hold several, for a service whose client is slow sends
# together what it has.
LEAST_DELTAS = 8
MOST_WORTH = 1.5
SEVERAL_SHARE = 0.1
# What is known beforehand weighs as much as so many tokens of the stream itself.
PRIOR_TOKENS = 20.0
_ROUNDING = 1e-9

# Each code point is of the first kind that it matches.
_RUNS = regex.compile(
    r"(?P<space> +)|(?P<control>[\x00-\x1f])|(?P<ascii>[A-Za-z]+)|(?P<number>\p{N})"
    r"|(?P<punctuation>[\x21-\x7e])|(?P<han>\p{Script=Han})"
    r"|(?P<kana>[\p{Script=Hiragana}\p{Script=Katakana}])|(?P<hangul>\p{Script=Hangul})"
    r"|(?P<latin>\p{Script=Latin})|(?P<cyrillic>\p{Script=Cyrillic})"
    r"|(?P<letter>[\p{L}\p{M}])|(?P<astral>[\U00010000-\U0010ffff])|(?P<other>.)",
    regex.DOTALL,
)
# Tokenizers put a space before its word, and never more than one word into a token.
_SPANS_WORDS = regex.compile(r"\S\s+\S|[\p{L}\p{N}] +$")


def weigh(text: str, letters: int = 0) -> tuple[list[str], list[float], int]:
    """The kind of each code point, what it is worth, and how many letters `text` ends with.

    Args:
        letters: How many the text before ended with.
    """
    kinds: list[str] = []
    worths: list[float] = []
    for run in _RUNS.finditer(text):
        kind, length = str(run.lastgroup), len(run[0])
        letters = letters + length if kind in _ALPHABETS else 0
        past = min(length, max(0, letters - WORD_LETTERS))
        kinds += [kind] * length
        worths += [WORTH[kind]] * (length - past) + [WORTH_PAST_WORD] * past
    return kinds, worths, letters


class Tokens:
    """Says of which token each code point of one stream is a part.

    Invariants:
        Tokens are numbered from 0, and numbers never go back.
        Without counts, and before deltas look like tokens, the number of a code point
        depends on the text before it alone, however it was cut.

    Attributes:
        begun: How many tokens have begun.
    """

    def __init__(self) -> None:
        self.begun = 0
        self._worth = 0.0
        self._letters = 0
        # The token in which the word began that the text ends with.
        self._word: int | None = None
        self._deltas = self._several = 0
        self._worth_of_deltas = 0.0
        self._counted: dict[str, float] = defaultdict(lambda: PRIOR_TOKENS)
        self._estimated: dict[str, float] = defaultdict(lambda: PRIOR_TOKENS)

    def place(self, text: str, counted: int | None = None) -> list[int]:
        """The number of the token of each code point of `text`, which is not empty.

        Args:
            counted: How many tokens it is made of; None if nobody says so.
        """
        kinds, worths, self._letters = weigh(text, self._letters)
        if counted is None and self._is_one_token(text, sum(worths)):
            counted = 1
        if counted is not None:
            self._learn(kinds, worths, counted)
            return self._spread(len(text), counted)
        return self._estimate(kinds, worths)

    def _is_one_token(self, text: str, worth: float) -> bool:
        is_several = worth > PLAUSIBLE or _SPANS_WORDS.search(text) is not None
        self._deltas += 1
        self._several += is_several
        self._worth_of_deltas += worth
        return (
            not is_several
            and self._deltas >= LEAST_DELTAS
            and self._several <= SEVERAL_SHARE * self._deltas
            and 1 / PLAUSIBLE <= self._worth_of_deltas / self._deltas <= MOST_WORTH
        )

    def _estimate(self, kinds: list[str], worths: list[float]) -> list[int]:
        """Tokens by what the text is worth; a word is kept together where one more does."""
        places = []
        for kind, worth in zip(kinds, worths, strict=True):
            place = math.floor(self._worth + _ROUNDING)
            self._worth += worth * self._counted[kind] / self._estimated[kind]
            if kind not in _ALPHABETS:
                self._word = None
            elif self._word is None:
                self._word = place
            places.append(place if self._word is None else max(self._word, place - 1))
        self.begun = places[-1] + 1
        return places

    def _learn(self, kinds: list[str], worths: list[float], counted: int) -> None:
        scale = counted / sum(worths)
        for kind, worth in zip(kinds, worths, strict=True):
            self._counted[kind] += worth * scale
            self._estimated[kind] += worth

    def _spread(self, length: int, counted: int) -> list[int]:
        """`counted` new tokens, evenly over `length` code points."""
        first = self.begun
        self.begun += counted
        self._worth, self._word = float(self.begun), None
        return [first + i * counted // length for i in range(length)]
