"""Deltas out of what streams yield: text, or chunks of the OpenAI API.

Chunks of chat completions and of completions are read by the names of their fields, as
objects or as parsed JSON. No SDK is imported. Of several choices, number 0 is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_COUNT = 2**53


class StreamBroken(ConnectionError):  # noqa: N818 - a sentence for people
    """A stream ended before its answer did; `str()` says how."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one item of a stream adds.

    Attributes:
        text: What its reader is to see.
        tokens: How many tokens `text` is made of; None if the item does not say.
        token_ids: Their ids; empty where the service was not asked for them.
        reasoning: What its reader is not to see.
        tool_calls: Parts of calls of tools, as the service sent them.
        all_tokens: How many tokens all the text so far is made of; None if the item does
            not say, or said it by `tokens`.
    """

    text: str = ""
    tokens: int | None = None
    token_ids: Sequence[int] = ()
    reasoning: str = ""
    tool_calls: Sequence[object] = ()
    all_tokens: int | None = None


class Chunks:
    """Reads the items of one stream, in order.

    A delta's tokens are those of `token_ids`, else of `logprobs`, else of a `usage` that
    comes with every chunk (`continuous_usage_stats`). A `usage` that comes now and then, or
    at the end, counts all the text up to it, where nothing else was written.

    Attributes:
        request_id: What the service calls the stream, from its chunks; None before them.
        is_cut: Whether chunks came and none of them had a `finish_reason`: had the stream
            ended here, its answer would be incomplete. Streams of text cannot tell.
    """

    def __init__(self) -> None:
        self.request_id: str | None = None
        self.is_cut = False
        # Completion tokens up to the last chunk; None: it did not say.
        self._counted: int | None = 0
        # Whether text came uncounted, and what else came that a total counts too.
        self._is_uncounted = self._has_reasoned = self._has_more = False

    def read(self, item: object) -> Delta:
        """What `item` adds.

        Raises:
            StreamBroken: It is an error event.
            TypeError: It is neither text nor a chunk, or its text is no text.
        """
        if isinstance(item, str):
            return Delta(item)
        if error := _field(item, "error"):
            raise StreamBroken(str(_field(error, "message") or error))
        choices = _field(item, "choices")
        if not isinstance(choices, Sequence):
            raise TypeError(
                f"the stream yielded {type(item).__name__}: it must be text or chunks of "
                "chat completions or completions"
            )
        name = _field(item, "id")
        self.request_id = name if name and isinstance(name, str) else self.request_id
        choice = next((one for one in choices if not _field(one, "index")), None)
        # Other choices are other answers; a chunk without any has the usage of all.
        self._has_more |= len(choices) > (choice is not None)
        usage = None if choices and choice is None else _field(item, "usage")
        if choice is None:
            return Delta(all_tokens=self._all_tokens(usage))
        self.is_cut = _field(choice, "finish_reason") is None
        return self._delta(choice, usage)

    def _delta(self, choice: object, usage: object) -> Delta:
        delta = _field(choice, "delta")
        written = choice if delta is None else delta
        text = _text(written, "content", "text", "refusal")
        reasoning = _text(delta, "reasoning_content", "reasoning")
        tool_calls = _list(delta, "tool_calls")
        token_ids = _list(choice, "token_ids")
        self._has_reasoned |= bool(reasoning)
        self._has_more |= bool(tool_calls)
        newly_counted = self._newly_counted(usage)
        if not text and (reasoning or tool_calls):
            # Nobody reads these: they take no reading time.
            return Delta("", None, token_ids, reasoning, tool_calls)
        logprobs = _field(choice, "logprobs")
        scored = _list(logprobs, "content") or _list(logprobs, "tokens")
        tokens = len(token_ids) or len(scored) or newly_counted or None
        self._is_uncounted |= bool(text) and tokens is None
        all_tokens = self._all_tokens(usage)
        return Delta(text, tokens, token_ids, reasoning, tool_calls, all_tokens)

    def _newly_counted(self, usage: object) -> int | None:
        total = _count(usage, "completion_tokens")
        before, self._counted = self._counted, total
        return None if before is None or total is None else total - before

    def _all_tokens(self, usage: object) -> int | None:
        """The tokens of all text, where they can be told from those of anything else."""
        total = _count(usage, "completion_tokens")
        details = _field(usage, "completion_tokens_details")
        hidden = _count(details, "reasoning_tokens") or 0
        is_known = self._is_uncounted and not self._has_more
        if total is None or not is_known or (self._has_reasoned and not hidden):
            return None
        return total - hidden


def _field(of: object, name: str) -> Any:
    if isinstance(of, Mapping):
        return of.get(name)
    value = getattr(of, name, None)
    # Text and lists have methods of these names.
    return None if callable(value) else value


def _text(of: object, *names: str) -> str:
    """The first of these fields that is there; text, or nobody could show it."""
    for name in names:
        if value := _field(of, name):
            if isinstance(value, str):
                return value
            raise TypeError(
                f"the stream's {name} is {type(value).__name__}: it must be str"
            )
    return ""


def _list(of: object, name: str) -> Sequence[Any]:
    value = _field(of, name)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _count(of: object, name: str) -> int | None:
    value = _field(of, name)
    # What no answer has is not counted with.
    return value if type(value) is int and 0 <= value < MAX_COUNT else None
