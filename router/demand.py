"""How large a request is, guessed from its body without a tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from router.request_fields import body_field as _field
from router.request_fields import received_tokens

DEFAULT_PROMPT_TOKENS = 256
DEFAULT_OUTPUT_TOKENS = 256
DEFAULT_CHARS_PER_TOKEN = 4.0


class Size(NamedTuple):
    """What a request is expected to take.

    Attributes:
        prompt_tokens: Of all its prompts.
        output_tokens: Of one answer.
        streams: Answers, each of them to a prompt of its own.
    """

    prompt_tokens: float
    output_tokens: float
    streams: int = 1

    @property
    def demand_tokens(self) -> int:
        """Mean KV tokens over the life of the request: its prompt, half of its output."""
        return math.ceil(self.prompt_tokens + self.streams * self.output_tokens / 2)


DEFAULT_SIZE = Size(DEFAULT_PROMPT_TOKENS, DEFAULT_OUTPUT_TOKENS)


def estimate_size(
    body: object,
    *,
    mean_output_tokens: float = 0.0,
    chars_per_token: float = DEFAULT_CHARS_PER_TOKEN,
) -> Size:
    """What the request in `body` is expected to take.

    Args:
        body: A chat or completion request, as a mapping or an object with attributes.
            Anything else counts as a request of the default size; nothing raises, and
            nothing of the body is changed or used up.
        mean_output_tokens: Mean length of finished streams; 0 when unknown.
        chars_per_token: To tell tokens from text.
    """
    try:
        prompt_tokens, streams = _prompt_size(body, chars_per_token)
        output_tokens = _expected_output_tokens(body, mean_output_tokens)
        # What another replica wrote is prompt to this one.
        received = received_tokens(body)
        return Size(prompt_tokens + received, max(output_tokens - received, 1.0), streams)
    # A body is whatever a client sent; its size is only ever a guess.
    except Exception:
        return DEFAULT_SIZE


def estimate_demand_tokens(
    body: object,
    *,
    mean_output_tokens: float = 0.0,
    chars_per_token: float = DEFAULT_CHARS_PER_TOKEN,
) -> int:
    """`Size.demand_tokens` of the request in `body`."""
    return estimate_size(
        body, mean_output_tokens=mean_output_tokens, chars_per_token=chars_per_token
    ).demand_tokens


def _prompt_size(body: object, chars_per_token: float) -> tuple[float, int]:
    """Tokens of the prompt or prompts, and how many there are."""
    messages = _field(body, "messages")
    if _is_list(messages):
        return sum(_chars(_field(m, "content")) for m in messages) / chars_per_token, 1
    prompt = _field(body, "prompt")
    if _is_list(prompt) and prompt and not isinstance(prompt[0], int):
        return sum(_prompt_tokens(p, chars_per_token) for p in prompt), len(prompt)
    return _prompt_tokens(prompt, chars_per_token), 1


def _prompt_tokens(prompt: object, chars_per_token: float) -> float:
    if isinstance(prompt, str):
        return len(prompt) / chars_per_token
    return len(prompt) if _is_list(prompt) else DEFAULT_PROMPT_TOKENS


def _chars(content: object) -> int:
    """Characters of a message's content: a string, or a list of parts with a `text`."""
    if not _is_list(content):
        return _len(content)
    return sum(_len(p if isinstance(p, str) else _field(p, "text")) for p in content)


def _expected_output_tokens(body: object, mean_output_tokens: float) -> float:
    is_known = 0 < mean_output_tokens < math.inf
    expected = mean_output_tokens if is_known else DEFAULT_OUTPUT_TOKENS
    for name in ("max_completion_tokens", "max_tokens"):
        given = _field(body, name)
        if type(given) is int and 0 < given < expected:
            expected = given
    return expected


def _len(text: object) -> int:
    return len(text) if isinstance(text, str) else 0


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    # Not any iterable: pydantic leaves one-shot iterators in a chat request, and reading
    # one here would empty it for the engine.
    return isinstance(value, (list, tuple))
