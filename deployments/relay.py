"""What a client sees of one stream, whichever replicas write it. No Ray here.

Replicas are asked for the ids of their tokens, so that a stream which breaks off can go on
elsewhere. The client gets one stream: one id, one role, one count of tokens, no ids that
it did not ask for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from deployments.reader import Reader
from qoe import Expectation

DATA, DONE = "data: ", "data: [DONE]\n\n"
SERVER_ERROR, BAD_GATEWAY, UNAVAILABLE = 500, 502, 503

# How errors of OpenAI's and of Anthropic's API begin.
_ERRORS = ('{"error"', '{"type":"error"')


class BrokenOffError(Exception):
    """A replica ends a stream with an error that is its own, not the request's."""


class Relay:
    """Rewrites the events of a stream's attempts, and knows where the next one begins.

    Args:
        fields: The `vllm_xargs` of the client, which may itself go on with a stream.
        default: What a reader expects who says nothing.
        now_s: Monotonic clock.
        wants_token_ids: Whether the client asked for the ids of tokens.
        wants_usage: Whether it asked for a count at the end.

    Invariants:
        Every token that went to the client is in `token_ids`, unless `is_blind`.
        `id` and `created` are the first attempt's; a role is sent once.

    Attributes:
        token_ids: Tokens that went to the client.
        has_begun: Whether anything did.
        has_finished: Whether a finish reason did.
        is_blind: Whether text came without its tokens, so that nobody can go on with it.
    """

    def __init__(
        self,
        fields: Mapping[str, object],
        default: Expectation,
        now_s: Callable[[], float],
        *,
        wants_token_ids: bool,
        wants_usage: bool,
    ) -> None:
        self._reader = Reader(fields, default, now_s)
        self._wants_token_ids = wants_token_ids
        self._owes_usage = wants_usage
        self._tokens_before = 0
        self._prompt_tokens = 0
        self._head: dict[str, Any] = {}
        self.has_begun = False
        self.has_finished = False
        self.is_blind = False

    @property
    def token_ids(self) -> list[int]:
        return self._reader.token_ids

    def next_attempt(self) -> dict[str, Any]:
        """Begin another attempt; the `vllm_xargs` that it needs beyond the client's."""
        self._tokens_before = len(self.token_ids)
        return self._reader.resume_fields()

    def rewrite(self, event: str) -> str | None:
        """One event of an attempt as the client gets it; None if it gets nothing.

        Raises:
            BrokenOffError: It says that the replica failed.
        """
        payload = event.removeprefix(DATA)
        if not payload.startswith("{"):
            return event
        chunk: dict[str, Any] = json.loads(payload)
        if (code := error_code(event)) is not None:
            if code >= SERVER_ERROR:
                raise BrokenOffError((error_of(event) or {}).get("message"))
            self.has_begun = True
            return event
        is_news = self._take(chunk)
        self._unify(chunk)
        if not is_news:
            return None
        self.has_begun = True
        return _event(chunk)

    def ending(self) -> str:
        """What is left to say once the finish reason has been said."""
        if not self._owes_usage:
            return ""
        self._owes_usage = False
        usage = self._usage(self._prompt_tokens, len(self.token_ids))
        return _event(self._head | {"choices": [], "usage": usage})

    def _take(self, chunk: dict[str, Any]) -> bool:
        """Note what came, hide what was not asked for; whether the client needs it."""
        prompt_ids = chunk.get("prompt_token_ids")
        choices = chunk["choices"]
        if not choices:
            self._owes_usage = False
            return True
        (choice,) = choices
        prompt_ids = choice.get("prompt_token_ids") or prompt_ids
        self._prompt_tokens = len(prompt_ids) if prompt_ids else self._prompt_tokens
        tokens = choice.get("token_ids") or []
        delta = choice.get("delta", {})
        has_text = bool(choice.get("text") or delta.get("content"))
        self.is_blind |= has_text and not tokens
        self._reader.deliver(tokens)
        is_end = choice.get("finish_reason") is not None
        self.has_finished |= is_end
        is_first = not self.has_begun
        if not self._wants_token_ids:
            _strip(chunk, choice)
        elif not is_first:
            _strip(chunk, choice, names=("prompt_token_ids",))
        says_role = "role" in delta and is_first
        # A chunk of a completion goes out with each token, as it would without us.
        says = has_text or "text" in choice or bool(set(delta) - {"role", "content"})
        says_tokens = bool(tokens) and (self._wants_token_ids or "content" in delta)
        return is_end or says or says_role or says_tokens

    def _unify(self, chunk: dict[str, Any]) -> None:
        """Give the chunk of a later attempt the face of the first one."""
        if not self._head:
            self._head = {
                name: chunk[name]
                for name in ("id", "object", "created", "model")
                if name in chunk
            }
        chunk |= self._head
        usage = chunk.get("usage")
        if usage and self._tokens_before:
            written = usage["completion_tokens"] + self._tokens_before
            chunk["usage"] = usage | self._usage(usage["prompt_tokens"], written)

    @staticmethod
    def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }


def error_of(event: str) -> dict[str, Any] | None:
    """The error of an event or a body that says nothing else; None for another one."""
    payload = event.removeprefix(DATA)
    if not payload.startswith(_ERRORS):
        return None
    try:
        error = json.loads(payload)["error"]
    except (ValueError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}


def error_code(event: str) -> int | None:
    """The code of an event that says nothing but an error; None for another one."""
    if (error := error_of(event)) is None:
        return None
    try:
        code = int(error.get("code") or SERVER_ERROR)
    except (ValueError, TypeError, OverflowError):
        return SERVER_ERROR
    return code if 400 <= code < 600 else SERVER_ERROR


def error_event(message: str) -> str:
    """The last event of a stream that nobody can go on with."""
    error = {"message": message, "type": "StreamBrokenOff", "param": None}
    return _event({"error": error | {"code": UNAVAILABLE}})


def written(value: dict[str, Any]) -> str:
    """`value` as JSON that any encoder takes: half of a surrogate pair stays an escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace").decode()


def _event(chunk: dict[str, Any]) -> str:
    return f"{DATA}{written(chunk)}\n\n"


def _strip(
    chunk: dict[str, Any],
    choice: dict[str, Any],
    names: tuple[str, ...] = ("token_ids", "prompt_token_ids"),
) -> None:
    for name in names:
        chunk.pop(name, None)
        choice.pop(name, None)
