"""`python -m evidence.tokens`: how many tokens the pacer takes a text for, and the truth.

The texts are article 1 of the Universal Declaration of Human Rights, a page of a novel in
the public domain, and an answer and code made up for it. The tokenizers come with
`mistral_common`, which comes with vLLM: Tekken, and the one of Mistral 7B, whose 32k tokens
are mostly of Latin script. The three last columns are estimates as parts of Tekken's count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mistral_common
from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from rich.console import Console
from rich.table import Table

from pacer.tokens import Tokens

TEXTS: dict[str, str] = json.loads(
    Path(__file__).with_name("texts.json").read_text("utf-8")
)
_DATA = Path(mistral_common.__file__).with_name("data")


@cache
def tekken() -> Tekkenizer:
    """The tokenizer that the constants are of."""
    return Tekkenizer.from_file(_DATA / "tekken_240911.json")


def tokens_of(text: str) -> list[str]:
    """`text` in pieces, as a service sends Tekken's tokens: no half characters.

    A token that ends within a character is the empty text.
    """
    pieces, written = [], ""
    ids = tekken().encode(text, bos=False, eos=False)
    for end in range(1, len(ids) + 1):
        so_far = tekken().decode(ids[:end])
        piece = "" if so_far.endswith("\ufffd") else so_far[len(written) :]
        written += piece
        pieces.append(piece)
    return pieces


def estimate(deltas: Sequence[str]) -> int:
    """How many tokens the pacer takes them to be, where nobody counts."""
    tokens = Tokens()
    for delta in deltas:
        if delta:
            tokens.place(delta)
    return tokens.begun


@dataclass(frozen=True, slots=True)
class Measured:
    """One text. The estimates are parts of Tekken's count.

    Attributes:
        characters_per_token: Tekken's, and that of the tokenizer of Mistral 7B.
        whole: Estimate of the text in one delta,
        eights: in deltas of eight tokens, as `stream_interval: 8` sends them,
        ones: and of one.
    """

    name: str
    characters_per_token: tuple[float, float]
    whole: float
    eights: float
    ones: float


def measure(name: str) -> Measured:
    """The text called `name`."""
    text = TEXTS[name]
    pieces = tokens_of(text)
    old = SentencePieceTokenizer(_DATA / "mistral_instruct_tokenizer_240323.model.v3")
    old_tokens = len(old.encode(text, bos=False, eos=False))
    eights = ["".join(pieces[i : i + 8]) for i in range(0, len(pieces), 8)]
    whole, eight, one = (
        estimate(deltas) / len(pieces) for deltas in ([text], eights, pieces)
    )
    per_token = (len(text) / len(pieces), len(text) / old_tokens)
    return Measured(name, per_token, whole, eight, one)


def main(show: Callable[[Table], object]) -> None:
    """Show all texts."""
    table = Table("text", "characters a token", "Mistral 7B", "whole", "by 8", "by 1")
    for one in map(measure, TEXTS):
        numbers = (*one.characters_per_token, one.whole, one.eights, one.ones)
        table.add_row(one.name, *(f"{number:.2f}" for number in numbers))
    show(table)


if __name__ == "__main__":
    main(Console().print)
