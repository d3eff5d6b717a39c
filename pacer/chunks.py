"""Deltas out of what streams yield: text, or chunks of the OpenAI API.

Chunks of chat completions and of completions are read by the names of their fields, as
objects or as parsed JSON. No SDK is imported. Of several choices, number 0 is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class StreamBroken(ConnectionError):  # noqa: N818 - a sentence for people
    """A stream ended before its answer did; `str()` says how."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one item of a stream adds.

    Attributes:
        text: What its reader is to see.
        tokens: How many tokens `text` is made of, as far as the item tells.
        token_ids: Their ids; empty where the service was not asked for them.
        reasoning: What its reader is not to see.
    """

    text: str = ""
    tokens: int = 0
    token_ids: Sequence[int] = ()
    reasoning: str = ""


class Chunks:
    """Reads the items of one stream, in order.

    A delta's tokens are those of `token_ids`, else of `logprobs`, else of a `usage` that
    comes with every chunk (`continuous_usage_stats`), else one where there is text.

    Attributes:
        request_id: What the service calls the stream, from its chunks; None before them.
        is_cut: Whether chunks came and none of them had a `finish_reason`: had the stream
            ended here, its answer would be incomplete. Streams of text cannot tell.
    """

    def __init__(self) -> None:
        self.request_id: str | None = None
        self.is_cut = False
        # Completion tokens up to the last chunk; None: not every chunk said so.
        self._counted: int | None = 0

    def read(self, item: object) -> Delta:
        """What `item` adds.

        Raises:
            StreamBroken: It is an error event.
            TypeError: It is neither text nor a chunk.
        """
        if isinstance(item, str):
            return Delta(item, 1 if item else 0)
        if error := _field(item, "error"):
            raise StreamBroken(str(_field(error, "message") or error))
        choices = _field(item, "choices")
        if not isinstance(choices, Sequence):
            raise TypeError(
                f"the stream yielded {type(item).__name__}: it must be text or chunks of "
                "chat completions or completions"
            )
        self.request_id = _field(item, "id") or self.request_id
        counted = self._newly_counted(item)
        choice = next((one for one in choices if not _field(one, "index")), None)
        if choice is None:
            return Delta()
        self.is_cut = _field(choice, "finish_reason") is None
        return _delta(choice, counted)

    def _newly_counted(self, item: object) -> int | None:
        total = _field(_field(item, "usage"), "completion_tokens")
        before, self._counted = self._counted, total
        return None if before is None or total is None else total - before


def _delta(choice: object, counted: int | None) -> Delta:
    delta = _field(choice, "delta")
    text = _field(choice, "text") if delta is None else _field(delta, "content")
    reasoning = _field(delta, "reasoning_content") or _field(delta, "reasoning") or ""
    token_ids = _field(choice, "token_ids") or ()
    if not text and (reasoning or _field(delta, "tool_calls")):
        # Nobody reads these: they take no reading time.
        return Delta(token_ids=token_ids, reasoning=reasoning)
    logprobs = _field(choice, "logprobs")
    scored = _field(logprobs, "content") or _field(logprobs, "tokens") or ()
    tokens = len(token_ids) or len(scored) or counted or (1 if text else 0)
    return Delta(text or "", tokens, token_ids, reasoning)


def _field(of: object, name: str) -> Any:
    if isinstance(of, Mapping):
        return of.get(name)
    return getattr(of, name, None)
