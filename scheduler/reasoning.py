"""Tokens that nobody reads: a model's reasoning, where the server sets it apart.

vLLM's own parser says where it ends, to the server and to us. No vLLM here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

from scheduler.request_ids import is_completion

# What a parser is shown of what was written before: longer than any mark of an end, and
# short enough for every step. Of a prompt, what a template may end with.
RECENT_TOKENS = 32
PROMPT_TOKENS = 256


class Parser(Protocol):
    """vLLM's `ReasoningParser`, as far as it is needed."""

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Whether what follows `input_ids` is no reasoning."""

    def is_reasoning_end_streaming(
        self, input_ids: Sequence[int], delta_ids: Iterable[int]
    ) -> bool:
        """Whether reasoning ends in `delta_ids`, the end of `input_ids`."""


class Reasoning:
    """Which streams still write what their readers are not shown.

    Of a step, only streams that reason and got tokens in it are looked at, each for a
    bounded time.

    Args:
        parser: None where reasoning is not set apart.
    """

    def __init__(self, parser: Parser | None) -> None:
        self._parser = parser
        self._streams: set[str] = set()

    @classmethod
    def of(cls, structured_output_manager: Any) -> Self:
        """With the parser of an engine's configuration, if there is one.

        A parser that depends on the arguments of a request's template takes its defaults.
        """
        # A virtual engine has none; one without a tokenizer has no parser.
        make = getattr(structured_output_manager, "reasoner_cls", None)
        return cls(make(structured_output_manager.tokenizer) if make is not None else None)

    def __len__(self) -> int:
        return len(self._streams)

    def begin(self, request_id: str, prompt_token_ids: Sequence[int] | None) -> None:
        """A stream begins; a completion is shown as it is written."""
        if self._parser is None or is_completion(request_id):
            return
        if not self._parser.is_reasoning_end((prompt_token_ids or [])[-PROMPT_TOKENS:]):
            self._streams.add(request_id)

    def num_hidden(
        self, request_id: str, written: Sequence[int], tokens: Sequence[int]
    ) -> int:
        """How many of `tokens` nobody reads: those up to the mark that ends reasoning.

        Args:
            request_id: Of a stream that may never have reasoned.
            written: All that it has written, `tokens` included.
            tokens: What it wrote in this step.
        """
        if request_id not in self._streams or self._parser is None:
            return 0
        recent = list(written[-(RECENT_TOKENS + len(tokens)) :])
        ends = self._parser.is_reasoning_end_streaming
        if not ends(recent, tokens):
            return len(tokens)
        self._streams.discard(request_id)
        before = recent[: len(recent) - len(tokens)]
        for count, token in enumerate(tokens, start=1):
            if ends([*before, *tokens[:count]], [token]):
                return count
        return len(tokens)

    def forget(self, request_id: str) -> None:
        """The stream is over."""
        self._streams.discard(request_id)
