"""Which requests can be continued exactly by another replica, and why others cannot.

A continuation is the request again, with the tokens that its reader has received. All that
depends on how an answer began, beyond its tokens, is lost with the replica that began it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from qoe.fields import RESUME_FIELD

Body = Mapping[str, object]


def _is_set(value: object) -> bool:
    return bool(value)


def _is_asked_for(value: object) -> bool:
    # 0 asks a completion for the logprobs of its own tokens.
    return value is not None and value is not False


def _is_not_one(value: object) -> bool:
    return value not in (None, 1)


def _is_not_text(value: object) -> bool:
    kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    return value is not None and kind != "text"


def _is_several_prompts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and not isinstance(value[0], int)


# What a request may not ask for, and what would be lost.
_INEXACT: Mapping[str, tuple[Callable[[object], bool], str]] = MappingProxyType(
    {
        "n": (_is_not_one, "the tokens are those of one answer"),
        "use_beam_search": (_is_set, "the other beams are lost"),
        "prompt": (_is_several_prompts, "the tokens are those of one answer"),
        "prompt_embeds": (_is_set, "a prompt without tokens has nothing to append to"),
        "echo": (_is_set, "the prompt has been sent already"),
        "logprobs": (_is_asked_for, "offsets count from the beginning of the answer"),
        "prompt_logprobs": (_is_asked_for, "the prompt has been sent already"),
        "response_format": (_is_not_text, "the grammar's state is lost"),
        "structured_outputs": (_is_set, "the grammar's state is lost"),
        "tools": (_is_set, "the parser's state is lost"),
        "presence_penalty": (_is_set, "it counts the tokens of the answer alone"),
        "frequency_penalty": (_is_set, "it counts the tokens of the answer alone"),
        "bad_words": (_is_set, "they are looked for in the answer alone"),
        "repetition_detection": (_is_set, "it looks at the answer alone"),
        "thinking_token_budget": (_is_set, "it counts the tokens of the answer alone"),
    }
)


def fields_set(request: Any) -> dict[str, object]:
    """A request as the raw body it came from, with the keys that vLLM does not know."""
    return {name: getattr(request, name) for name in request.model_fields_set}


def obstacle(body: Body) -> str | None:
    """Why a stream of the request in `body` cannot be continued; None if it can.

    Args:
        body: What the client set of a chat or completion request.
    """
    if "messages" not in body and "prompt" not in body:
        return "only a chat and a completion can be continued"
    for name, (is_inexact, why) in _INEXACT.items():
        if is_inexact(body.get(name)):
            return f"{name} is set, and {why}"
    return None


def continuation_refusal(body: Body, num_resumed: int) -> str | None:
    """Why the continuation in `body` must be refused, in one sentence; None if it need not.

    Args:
        body: What the client set of a chat or completion request.
        num_resumed: Tokens it says to have received, > 0.
    """
    why = obstacle(body)
    if why is None and body.get("stream") is not True:
        why = "only a stream can be continued: set stream to true"
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if why is None and isinstance(limit, int) and limit <= num_resumed:
        why = f"the answer ended with {limit} tokens, as it was asked to"
    if why is None:
        return None
    return f"{RESUME_FIELD} with {num_resumed} tokens is refused: {why}."
