"""What the parts of a move say to one another. No Ray and no vLLM here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from router.peers import Pinned
from telemetry.report import EngineReport


class MovedError(Exception):
    """The local engine has let go of the stream: another replica goes on with it."""


class BrokenOffError(Exception):
    """A replica that went on with a stream did not finish it."""


class Piece(NamedTuple):
    """What one replica tells another of a stream at a time."""

    text: str
    token_ids: list[int]
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    num_cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class HandOver(Pinned):
    """A stream, for the replica that is to go on with it.

    Attributes:
        request_id: As the engine client was given it.
        prompt: So was this,
        params: this, with the tokens so far and the reader's state,
        options: and these.
        num_moved: How often the stream was moved, this time included.
    """

    request_id: str
    prompt: Any
    params: Any
    options: dict[str, Any]
    num_moved: int


class Source(Protocol):
    """A request at its engine client.

    Attributes:
        request_key: What reports call it.
        fields: Its QoE fields.
        prompt_tokens: Of its prompt.
        max_tokens: Of its whole answer; None if nobody said.
    """

    request_key: int
    fields: dict[str, Any]
    prompt_tokens: int
    max_tokens: int | None

    def start(self, resume_fields: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Have the local engine write it, or what is left of it."""

    def stop(self) -> bool:
        """Have what `start` returned raise `MovedError`; False if it cannot now."""

    def hand_over(
        self, to: str, resume_fields: dict[str, Any], num_moved: int
    ) -> HandOver: ...

    def piece(self, output: Any) -> Piece:
        """An output of the local engine for another replica."""

    def output(self, piece: Piece) -> Any:
        """What another replica wrote as the local engine would have."""


class Response(Protocol):
    """Pieces on their way from another replica."""

    def __aiter__(self) -> AsyncIterator[Any]: ...

    async def __anext__(self) -> Any: ...

    def cancel(self) -> object: ...


class Fleet(Protocol):
    """The other replicas.

    Attributes:
        home: Id of this one.
    """

    home: str

    def ask(self, hand_over: HandOver) -> Response:
        """Ask the replica that is meant to go on with a stream."""

    def replicas(self) -> Sequence[str]:
        """Ids of all, this one included."""

    def reports(self) -> Iterable[tuple[Any, EngineReport]]:
        """What they have said since the last call, and what this one said last."""
