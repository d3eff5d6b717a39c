"""Who waits for a first token, and who waits in vain. No vLLM here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from qoe.fields import PATIENCE_FIELD

# What a client is told while nobody knows how long the engine has to do.
ASSUMED_RETRY_S = 5
# Nobody can say more than a minute ahead what a load will be.
MAX_RETRY_S = 60

_FULL = "The engine is full"
_REFUSAL = re.compile(rf"(?:{PATIENCE_FIELD}=\S+|{_FULL}): .* try again in (\d+) s\.")


@dataclass(frozen=True, slots=True)
class _Wait:
    patience_s: float
    until_s: float
    prompt_tokens: int


class Patience:
    """The streams with a patience that have no token yet.

    Invariants:
        A stream is here from `begin` to its first token or its end, whichever is first.
        Memory grows with the streams that wait, never with time.
    """

    def __init__(self) -> None:
        self._waits: dict[str, _Wait] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def begin(
        self, name: str, patience_s: float, asked_at_s: float, prompt_tokens: int
    ) -> None:
        """A stream waits for its first token from now on.

        Args:
            name: What the engine calls it.
            patience_s: Of its client.
            asked_at_s: From when that counts.
            prompt_tokens: Tokens to compute before the first one, at most.
        """
        self._waits[name] = _Wait(patience_s, asked_at_s + patience_s, prompt_tokens)

    def end(self, name: str) -> None:
        """It has a token, or is gone; a stream that is not here is nobody's loss."""
        self._waits.pop(name, None)

    def in_vain(
        self, now_s: float, token_s: float, uncomputed_tokens: Callable[[str], int]
    ) -> list[str]:
        """The streams whose patience ends before their first token can come.

        That is certain where it is over, or too short for the stream's own prompt. Who is
        served before whom is for others to decide, and may change.

        Args:
            now_s: On the clock of `begin`.
            token_s: Seconds to compute one token of a prompt; 0 if unknown.
            uncomputed_tokens: What a stream has left to compute; asked of few.
        """
        return [
            name
            for name, wait in self._waits.items()
            if wait.until_s <= now_s + token_s * wait.prompt_tokens
            and (
                wait.until_s <= now_s
                or wait.until_s <= now_s + token_s * uncomputed_tokens(name)
            )
        ]

    def refusal(self, name: str, retry_after_s: int) -> str:
        """Why the stream is refused, for the person who waits."""
        patience = f"{self._waits[name].patience_s:g}"
        return (
            f"{PATIENCE_FIELD}={patience}: no first token could come within {patience} s; "
            f"the engine is overloaded; try again in {retry_after_s} s."
        )


def retry_after_s(num_waiting: int, mean_output_tokens: float, tokens_per_s: float) -> int:
    """Whole seconds until the engine may have written what waits now, 1 to 60.

    Args:
        num_waiting: Streams that hold no KV memory.
        mean_output_tokens: Of an answer; 0 if unknown.
        tokens_per_s: What the recent steps brought; 0 before the first.
    """
    if not (mean_output_tokens > 0 and tokens_per_s > 0):
        return ASSUMED_RETRY_S
    backlog_s = num_waiting * mean_output_tokens / tokens_per_s
    return min(max(math.ceil(backlog_s), 1), MAX_RETRY_S)


def full_refusal(takes: str, retry_after_s: int) -> str:
    """Why an engine takes no request now, for the person who sent it.

    Args:
        takes: What it holds at most, and does.
        retry_after_s: When there may be room.
    """
    return f"{_FULL}: it takes {takes} at a time; try again in {retry_after_s} s."


def retry_after_of(message: object) -> int | None:
    """When a refused client may come again, seconds; None where this is no refusal.

    The text is all that goes through vLLM's and Serve's layers unchanged.
    """
    found = _REFUSAL.fullmatch(message) if isinstance(message, str) else None
    return int(found[1]) if found else None
