"""The undisturbed answers, and whether what comes is a part of one."""

from __future__ import annotations

from collections import defaultdict


class Reference:
    """One answer of the model under greedy decoding, as far as anybody has read it.

    Whoever reads further than all before makes it longer, and is checked by the next one.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.text = ""

    def difference(self, at: int, ids: list[int], text: str) -> str:
        """What is wrong with the tokens from number `at` on; empty if nothing is."""
        known = self.ids[at : at + len(ids)]
        if ids[: len(known)] != known:
            first = next(
                i for i, (a, b) in enumerate(zip(ids, known, strict=False)) if a != b
            )
            return f"token {at + first} is {ids[first]} and not {known[first]}"
        if len(text) != len(ids):
            return f"{len(ids)} tokens from {at} on have {len(text)} letters"
        if text[: len(known)] != self.text[at : at + len(known)]:
            return f"the text from token {at} on is not that of its tokens"
        if at + len(known) == len(self.ids):
            self.ids += ids[len(known) :]
            self.text += text[len(known) :]
        return ""


class References:
    """A reference for every prompt of every endpoint."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, int], Reference] = defaultdict(Reference)

    def of(self, path: str, prompt: int) -> Reference:
        """The one of a prompt at an endpoint."""
        return self._all[path, prompt]


class Transcript:
    """What the client of one stream has, over all its attempts."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self.ids: list[int] = []
        self.difference = ""

    def take(self, ids: list[int], text: str) -> None:
        """The next tokens; the first difference is remembered."""
        if not self.difference:
            self.difference = self._reference.difference(len(self.ids), ids, text)
        self.ids += ids
