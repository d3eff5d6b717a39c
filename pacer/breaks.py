"""Streams that break off, and what is needed to ask for the rest of them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass

from qoe.fields import AGE_FIELD, AGE_RANGE_S, RESUME_FIELD, SLACK_FIELD, SLACK_RANGE_S

Stream = AsyncIterable[object] | Awaitable[AsyncIterable[object]]

# By name: importing the clients to know their errors would need them installed.
_OF_CLIENTS = {
    "openai.APIError",
    "httpx.TransportError",
    "httpx2.TransportError",
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ClientPayloadError",
}


@dataclass(frozen=True, slots=True)
class Received:
    """What came of a stream before it broke off.

    Attributes:
        text: All of its text, shown or not.
        token_ids: Its tokens; empty where the request did not ask for `return_token_ids`.
        age_s: Seconds since the request was sent.
        slack_s: Seconds of text that the reader has left; negative for one who waits.
    """

    text: str
    token_ids: Sequence[int]
    age_s: float
    slack_s: float

    @property
    def vllm_xargs(self) -> dict[str, object]:
        """The fields that ask for the rest, to be added to those of the request.

        Raises:
            ValueError: The text came without token ids: it would be written twice.
        """
        if not self.token_ids:
            if self.text:
                raise ValueError("no token ids came: ask with return_token_ids=true")
            return {}
        return {
            RESUME_FIELD: list(self.token_ids),
            AGE_FIELD: _within(self.age_s, AGE_RANGE_S),
            SLACK_FIELD: _within(self.slack_s, SLACK_RANGE_S),
        }


Resume = Callable[[Received], Stream]


def is_break(error: BaseException) -> bool:
    """Whether a service or a connection failed, so that asking again may help.

    Errors of the request (HTTP 4xx) are none, and neither are the caller's own.
    """
    # An error event's code is text.
    statuses = [str(getattr(error, name, "")) for name in ("status_code", "code")]
    if any(len(status) == 3 and status.startswith("4") for status in statuses):
        return False
    names = {f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__}
    return isinstance(error, (OSError, EOFError)) or bool(names & _OF_CLIENTS)


def _within(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max(value, low), high)
