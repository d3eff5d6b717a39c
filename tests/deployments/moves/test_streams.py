"""One stream, whoever writes it: engines and replicas as simple as they can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

import pytest

from deployments.moves.contract import HandOver, MovedError, Piece
from deployments.moves.streams import Moves
from qoe import Expectation
from qoe.fields import RESUME_FIELD
from router.mover import MoveSettings

ANSWER = list(range(10, 20))
READER = Expectation(1.0, 5.0)


class Local:
    """A request at an engine that writes as many tokens as it is let."""

    request_key = 7
    prompt_tokens = 100
    max_tokens = len(ANSWER)

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.may_write = asyncio.Semaphore(0)
        self.is_stopped = False
        self.is_writing = False
        self.dies_with: Exception | None = None

    async def start(self, resume_fields: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        if self.dies_with is not None:
            raise self.dies_with
        self.is_stopped, self.is_writing = False, True
        try:
            for piece in answer_after(resume_fields):
                await self.may_write.acquire()
                if self.is_stopped:
                    raise MovedError
                yield piece
        finally:
            self.is_writing = False

    def stop(self) -> bool:
        self.is_stopped = True
        self.may_write.release()
        return True

    def hand_over(self, to: str, resume_fields: dict[str, Any], num_moved: int) -> HandOver:
        return HandOver(to, "r", None, resume_fields, {}, num_moved)

    def piece(self, output: Piece) -> Piece:
        return output

    def output(self, piece: Piece) -> Piece:
        return piece


def answer_after(fields: dict[str, Any]) -> Iterable[Piece]:
    for token in ANSWER[len(fields.get(RESUME_FIELD, ())) :]:
        yield Piece(f"<{token}>", [token], "length" if token == ANSWER[-1] else None)


class Response:
    """What a peer writes of an answer, up to a failure."""

    def __init__(self, pieces: Iterable[Piece], fails_after: int | None) -> None:
        self._pieces = iter(pieces)
        self._left = fails_after
        self.may_write = asyncio.Event()
        self.was_cancelled = False

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self

    async def __anext__(self) -> Piece:
        await self.may_write.wait()
        if self._left == 0:
            raise ConnectionError("the peer is gone")
        self._left = None if self._left is None else self._left - 1
        if (piece := next(self._pieces, None)) is None:
            raise StopAsyncIteration
        return piece

    def cancel(self) -> None:
        self.was_cancelled = True


class Fleet:
    """One peer beside this replica."""

    home = "home"
    fails_after: int | None = None

    def __init__(self, reports: Any) -> None:
        self.reports = reports
        self.asked: list[HandOver] = []
        self.responses: list[Response] = []

    def ask(self, hand_over: HandOver) -> Response:
        self.asked.append(hand_over)
        written = answer_after(hand_over.params)
        self.responses.append(Response(written, self.fails_after))
        return self.responses[-1]

    def replicas(self) -> list[str]:
        return ["home", "peer"]


class Stream:
    """A client that reads one stream."""

    def __init__(self, moves: Moves, num_moved: int = 0) -> None:
        self.local = Local()
        self.pieces: list[Piece] = []
        self.task = asyncio.create_task(self._read(moves, num_moved))

    async def _read(self, moves: Moves, num_moved: int) -> None:
        async for piece in moves.outputs(self.local, num_moved):
            self.pieces.append(piece)

    @property
    def tokens(self) -> list[int]:
        return [token for piece in self.pieces for token in piece.token_ids]

    async def local_writes(self, count: int) -> None:
        for _ in range(count):
            self.local.may_write.release()
            await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def asked_for(moves: Moves) -> Stream:
    """A stream that a peer was asked to go on with."""
    stream = Stream(moves)
    await settle()
    moves.look()
    await settle()
    return stream


@pytest.fixture
def fleet(reports: Any) -> Fleet:
    return Fleet(reports)


@pytest.fixture
def moves(fleet: Fleet, always: MoveSettings) -> Moves:
    return Moves(fleet, always, READER)


async def test_a_stream_that_nobody_moves_is_the_engines_own(moves: Moves) -> None:
    stream = Stream(moves)
    await stream.local_writes(len(ANSWER))
    await stream.task
    assert (stream.tokens, len(moves)) == (ANSWER, 0)


@pytest.mark.parametrize("cut", [0, 1, 9])
async def test_a_moved_stream_has_every_token_once(
    moves: Moves, fleet: Fleet, cut: int
) -> None:
    stream = Stream(moves)
    await settle()
    await stream.local_writes(cut)
    moves.look()
    await settle()
    assert stream.local.is_writing
    fleet.responses[0].may_write.set()
    await stream.task
    assert stream.tokens == ANSWER
    assert stream.pieces[-1].finish_reason == "length"
    assert fleet.asked[0].params.get(RESUME_FIELD, []) == ANSWER[:cut]
    assert fleet.asked[0].num_moved == 1
    assert not stream.local.is_writing
    assert (moves.counts["moved"], moves.counts["failed"], len(moves)) == (1, 0, 0)


async def test_the_local_engine_keeps_a_stream_of_which_it_writes_first(
    moves: Moves, fleet: Fleet
) -> None:
    stream = await asked_for(moves)
    await stream.local_writes(1)
    fleet.responses[0].may_write.set()
    await stream.local_writes(len(ANSWER) - 1)
    await stream.task
    assert stream.tokens == ANSWER
    assert fleet.responses[0].was_cancelled
    assert moves.counts["moved"] == 0


async def test_a_peer_that_refuses_leaves_the_stream_where_it_is(
    moves: Moves, fleet: Fleet
) -> None:
    fleet.fails_after = 0
    stream = await asked_for(moves)
    fleet.responses[0].may_write.set()
    await stream.local_writes(len(ANSWER))
    await stream.task
    assert stream.tokens == ANSWER
    assert (moves.counts["moved"], moves.counts["failed"]) == (0, 1)


async def test_a_peer_that_dies_gives_the_stream_back(moves: Moves, fleet: Fleet) -> None:
    fleet.fails_after = 4
    stream = Stream(moves)
    await settle()
    await stream.local_writes(2)
    moves.look()
    await settle()
    fleet.responses[0].may_write.set()
    await settle()
    assert stream.tokens == ANSWER[:6]
    await stream.local_writes(4)
    await stream.task
    assert stream.tokens == ANSWER
    assert moves.counts == {"asked": 1, "moved": 1, "returned": 1}


async def test_a_stream_that_comes_back_to_a_dead_engine_ends_with_its_error(
    moves: Moves, fleet: Fleet
) -> None:
    fleet.fails_after = 4
    stream = await asked_for(moves)
    stream.local.dies_with = RuntimeError("the engine is dead")
    fleet.responses[0].may_write.set()
    with pytest.raises(RuntimeError, match="the engine is dead"):
        await stream.task
    assert stream.tokens == ANSWER[:4]
    assert len(moves) == 0


@pytest.mark.parametrize("reason", ["abort", "error"])
async def test_an_end_that_is_the_peers_own_gives_the_stream_back(
    moves: Moves, fleet: Fleet, reason: str
) -> None:
    stream = await asked_for(moves)
    fleet.responses[0]._pieces = iter([Piece("<10>", [10]), Piece("", [], reason)])
    fleet.responses[0].may_write.set()
    await settle()
    await stream.local_writes(len(ANSWER) - 1)
    await stream.task
    assert stream.tokens == ANSWER
    assert stream.pieces[-1].finish_reason == "length"
    assert moves.counts == {"asked": 1, "moved": 1, "returned": 1}


@pytest.mark.parametrize("is_relayed", [False, True])
async def test_a_client_that_leaves_frees_both(
    moves: Moves, fleet: Fleet, is_relayed: bool
) -> None:
    stream = await asked_for(moves)
    (response,) = fleet.responses
    if is_relayed:
        response._pieces = iter([Piece("<10>", [10])])
        endless = asyncio.Event()
        response.may_write.set()
        await asyncio.sleep(0)
        response.may_write = endless
        await settle()
        assert stream.tokens == ANSWER[:1]
    stream.task.cancel()
    await asyncio.wait([stream.task])
    await settle()
    assert response.was_cancelled
    assert not stream.local.is_writing
    assert len(moves) == 0


async def test_a_stream_moves_twice_at_most(moves: Moves, fleet: Fleet) -> None:
    stream = Stream(moves, num_moved=1)
    await settle()
    fleet.fails_after = 0
    for _ in range(3):
        moves.look()
        await settle()
        fleet.responses[-1].may_write.set()
        await settle()
    assert [asked.num_moved for asked in fleet.asked] == [2]
    await stream.local_writes(len(ANSWER))
    await stream.task


async def test_nobody_is_asked_while_nobody_waits_at_home(
    moves: Moves, fleet: Fleet, quiet_reports: Any
) -> None:
    fleet.reports = quiet_reports
    stream = await asked_for(moves)
    assert fleet.asked == []
    await stream.local_writes(len(ANSWER))
    await stream.task
