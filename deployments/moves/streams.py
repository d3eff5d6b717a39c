"""Has another replica go on with a stream that waits here; its client sees one stream.

The local engine keeps the stream until the other replica has written of it: whoever
writes first goes on with it, and the other one is told to let go. So nothing is lost by a
move that fails. No Ray and no vLLM here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

from deployments.moves.contract import (
    BrokenOffError,
    Fleet,
    MovedError,
    Piece,
    Response,
    Source,
)
from deployments.reader import Reader
from qoe import Expectation
from router.mover import PERIOD_S, Move, Mover, MoveSettings, Waiting

logger = logging.getLogger(__name__)

# A replica that has written nothing by then is no better than this one.
PATIENCE_S = 5.0
# Of vLLM's reasons to finish, those that are the engine's and not the answer's.
NOT_FINISHED = ("abort", "error")


class _Stream:
    """One request, whoever writes it."""

    def __init__(self, name: str, source: Source, reader: Reader, num_moved: int) -> None:
        self.name = name
        self.source = source
        self.reader = reader
        self.num_moved = num_moved
        self.asked_at_s: float | None = None
        self.attempt: asyncio.Task[None] | None = None
        self.relayed: tuple[Piece, Response] | None = None

    def give_up_attempt(self) -> None:
        if self.attempt is not None:
            self.attempt.cancel()
            self.attempt = None

    def close(self) -> None:
        self.give_up_attempt()
        if self.relayed is not None:
            self.relayed[1].cancel()
            self.relayed = None


class Moves:
    """All streams that this replica's engine client writes and that can be moved.

    Invariants:
        A token goes to the client once, whichever replica wrote it.
        A failure leaves a stream where it is, or brings it back.
        A stream that ends, or whose client leaves, is written by nobody any more.

    Args:
        fleet: The other replicas.
        settings: When a stream is moved.
        default: What a reader expects who says nothing.
        now_s: Monotonic clock.

    Attributes:
        counts: Streams that others were "asked" to go on with, that they did ("moved") and
            then did not finish ("returned"); and what "failed" before a stream moved.
    """

    def __init__(
        self,
        fleet: Fleet,
        settings: MoveSettings,
        default: Expectation,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.home = fleet.home
        self._fleet = fleet
        self._settings = settings
        self._default = default
        self._now_s = now_s
        self._mover = Mover(fleet.home, now_s, settings)
        self._streams: dict[str, _Stream] = {}
        self._names = map(str, itertools.count())

    def __len__(self) -> int:
        return len(self._streams)

    async def watch(self) -> None:
        """Look for streams that wait, for ever."""
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                self.look()
            except Exception as error:
                self._say_once("failed", error)

    def look(self) -> None:
        """Ask others for streams that wait here, where that serves their readers."""
        replicas = self._fleet.replicas()
        self._mover.retain(replicas)
        waits_here = False
        for replica, report in self._fleet.reports():
            self._mover.hear(replica, report)
            waits_here |= replica == self.home and report.waiting > 0
        if not waits_here:
            return
        for move in self._mover.moves(self._waiting(), replicas):
            stream = self._streams[move.request_id]
            stream.num_moved += 1
            self.counts["asked"] += 1
            stream.attempt = asyncio.create_task(self._attempt(stream, move))

    async def outputs(
        self, source: Source, num_moved: int = 0
    ) -> AsyncGenerator[Any, None]:
        """The outputs of one request, as its engine client would return them.

        Args:
            source: The request.
            num_moved: How often it was moved before it came here.
        """
        reader = Reader(source.fields, self._default, self._now_s)
        stream = _Stream(next(self._names), source, reader, num_moved)
        self._streams[stream.name] = stream
        try:
            while True:
                try:
                    async with aclosing(self._local(stream)) as outputs:
                        async for output in outputs:
                            yield output
                    return
                except MovedError:
                    self.counts["moved"] += 1
                try:
                    async for piece in _relayed(stream):
                        reader.deliver(piece.token_ids)
                        yield source.output(piece)
                    return
                except Exception as error:
                    self._say_once("returned", error)
                    stream.close()
        finally:
            del self._streams[stream.name]
            stream.close()

    async def _local(self, stream: _Stream) -> AsyncGenerator[Any, None]:
        source, reader = stream.source, stream.reader
        fields = reader.resume_fields() if stream.num_moved else {}
        async with aclosing(source.start(fields)) as outputs:
            stream.asked_at_s = self._now_s()
            async for output in outputs:
                stream.give_up_attempt()
                # A client that is slow to take this does not wait for more.
                stream.asked_at_s = None
                reader.deliver(source.piece(output).token_ids)
                yield output
                stream.asked_at_s = self._now_s()

    async def _attempt(self, stream: _Stream, move: Move) -> None:
        """Ask a replica, and have it go on if it writes before the local engine does."""
        response: Response | None = None
        try:
            fields = stream.reader.resume_fields()
            hand_over = stream.source.hand_over(str(move.to), fields, stream.num_moved)
            response = self._fleet.ask(hand_over)
            async with asyncio.timeout(PATIENCE_S):
                first = Piece(*await anext(response))
            if stream.source.stop():
                stream.relayed = first, response
                response = None
        except Exception as error:
            self._say_once("failed", error)
        finally:
            if stream.attempt is asyncio.current_task():
                stream.attempt = None
            if response is not None:
                response.cancel()
                self._mover.gave_up(move)

    def _waiting(self) -> list[Waiting]:
        quiet_since_s = self._now_s() - self._settings.quiet_s
        return [
            self._as_waiting(stream)
            for stream in self._streams.values()
            if stream.asked_at_s is not None
            and stream.asked_at_s <= quiet_since_s
            and stream.attempt is None
            and stream.relayed is None
        ]

    def _as_waiting(self, stream: _Stream) -> Waiting:
        source, reader = stream.source, stream.reader
        received = reader.received_tokens
        output_tokens = self._mover.mean_output_tokens
        if source.max_tokens is not None and output_tokens:
            output_tokens = min(output_tokens, max(source.max_tokens - received, 1))
        return Waiting(
            request_id=stream.name,
            request_key=source.request_key,
            context_tokens=source.prompt_tokens + received,
            output_tokens=output_tokens,
            slack_s=reader.slack_s(),
            expectation=reader.expectation,
            num_moved=stream.num_moved,
        )

    def _say_once(self, what: str, error: Exception) -> None:
        self.counts[what] += 1
        if self.counts[what] == 1:
            logger.warning("The move of a stream %s: %r. Said once.", what, error)


async def _relayed(stream: _Stream) -> AsyncGenerator[Piece, None]:
    """What the other replica writes, to its end.

    Raises:
        BrokenOffError: It stopped before that.
    """
    assert stream.relayed is not None
    piece, response = stream.relayed
    while piece.finish_reason is None:
        yield piece
        try:
            piece = Piece(*await anext(response))
        except StopAsyncIteration:
            raise BrokenOffError("it ended without a reason") from None
    if piece.finish_reason in NOT_FINISHED:
        raise BrokenOffError(f"the other engine ended it with {piece.finish_reason}")
    yield piece
    # Serve takes a call for one in progress until its end has been read.
    with suppress(Exception):
        async for _ in response:
            pass
    stream.relayed = None
