"""One attempt of a client at one answer: what is asked, read, and how it is left."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec

from bench.endpoint import connection_problem
from bench.soak.reference import Transcript
from bench.soak.results import Silence
from bench.sse import error_message

LONG_SILENCE_S = 10.0
# Nobody waits longer for a byte; comments come every few seconds.
SILENT_S = 90.0
# A slow reader takes so little at a time, and rests so long in between.
SLOW_BYTES, SLOW_REST_S = 1024, 0.25
LAST_BYTES_S = 10.0
COMPLETIONS, CHAT = "completions", "chat/completions"


class BrokenError(Exception):
    """The attempt did not bring the answer to its end; `str()` says what was seen.

    Attributes:
        message: What the service said, if it did.
        status: HTTP status that the service gave; 0 where it gave none.
    """

    def __init__(self, reason: str, message: str = "", status: int = 0) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.message, self.status = message, status


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None
    token_ids: list[int] | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Chunk)
_NO_ERROR = msgspec.Raw(b"null")


class Answer:
    """The bytes of one stream, as they are read.

    Attributes:
        silences: The long ones, from the start of the soak.
    """

    def __init__(self, reading: Transcript, now_s: Callable[[], float]) -> None:
        self._reading, self._now_s = reading, now_s
        self._last_byte_s = now_s()
        self._reason: str | None = None
        self.silences: list[Silence] = []

    async def read(self, response: aiohttp.ClientResponse, *, slowly: bool) -> None:
        """Read it to its end.

        Raises:
            BrokenError: It has none, or another one.
        """
        read = 0
        async for line in response.content:
            self.on_bytes()
            read += len(line)
            if slowly and read > SLOW_BYTES:
                read = 0
                await asyncio.sleep(SLOW_REST_S)
                self._last_byte_s = self._now_s()
            if line.startswith(b"data:") and self._take(line[5:].strip()):
                return
        raise BrokenError("the stream ended before its answer did")

    def on_bytes(self) -> None:
        """There is something to read, or there will never be."""
        now_s = self._now_s()
        if now_s - self._last_byte_s > LONG_SILENCE_S:
            self.silences.append(Silence(self._last_byte_s, now_s))
        self._last_byte_s = now_s

    def _take(self, payload: bytes) -> bool:
        """Whether this is the end."""
        if payload == b"[DONE]":
            if self._reason != "length":
                raise BrokenError(f"finish_reason is {self._reason}")
            return True
        try:
            chunk = _DECODER.decode(payload)
        except msgspec.DecodeError as error:
            raise BrokenError(f"malformed event: {error}") from error
        if chunk.error != _NO_ERROR:
            raise BrokenError("error event", error_message(payload))
        for choice in chunk.choices:
            said = choice.text or (choice.delta.content if choice.delta else "") or ""
            if said or choice.token_ids:
                self._reading.take(choice.token_ids or [], said)
            self._reason = choice.finish_reason or self._reason
        return False


async def read_whole(response: aiohttp.ClientResponse, reading: Transcript) -> None:
    """An answer that is not streamed.

    Raises:
        BrokenError: It is none.
    """
    body = await response.read()
    try:
        choice = _DECODER.decode(body).choices[0]
    except (msgspec.DecodeError, IndexError) as error:
        raise BrokenError(f"malformed answer: {body[:80]!r}") from error
    reading.take(choice.token_ids or [], choice.text or "")


async def require_ok(response: aiohttp.ClientResponse) -> None:
    """Raise BrokenError with what the service says where it does not answer 200."""
    if response.status != 200:
        message = error_message(await response.read())
        # A proxy that knows of no service says so in plain text.
        is_service = response.content_type == "application/json"
        status = response.status if is_service else 0
        raise BrokenError(f"HTTP {response.status}", message, status)


def problem(error: BaseException) -> str:
    """What a client saw of an attempt that went wrong."""
    if isinstance(error, BrokenError):
        return str(error)
    if isinstance(error, aiohttp.SocketTimeoutError):
        return f"not a byte for {SILENT_S:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {connection_problem(error)}"
    return f"cut: {connection_problem(error)}"


async def leave(response: aiohttp.ClientResponse | None, way: str) -> None:
    """Leave a response in one of `plan.WAYS`; what is left of the connection is closed."""
    connection = response.connection if response is not None else None
    if response is None or connection is None or connection.transport is None:
        return
    transport = connection.transport
    if way == "reset":
        raw: Any = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    elif way == "half-close" and transport.can_write_eof():
        transport.write_eof()
        await _read_the_rest(response)
    response.close()


async def _read_the_rest(response: aiohttp.ClientResponse) -> None:
    """What the service still sends to whoever has closed their half."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(LAST_BYTES_S):
            async for _ in response.content.iter_any():
                pass
