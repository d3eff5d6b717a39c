"""Server-sent events of an OpenAI completion stream, reduced to a count of tokens."""

from __future__ import annotations

from typing import Annotated

import msgspec

# A chunk is some hundred bytes; with logprobs and usage, some thousand.
MAX_LINE_BYTES = 1024 * 1024
# No answer is as long: a time is kept for each of its tokens.
MAX_TOKENS = 10_000_000


class StreamError(Exception):
    """The stream went wrong inside a successful HTTP response.

    Attributes:
        kind: One word for the report's count of errors.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Choice(msgspec.Struct):
    text: str | None = ""
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    completion_tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    message: str


class StreamDecoder:
    """Counts the tokens of one stream, fed with raw bytes in whatever pieces they come.

    A chunk that carries usage says how many tokens there are by now; without usage, a chunk
    with text is one token. The closing usage chunk, which has no choices, adds none: its
    tokens were delivered before, at times that only their own chunks tell.

    Attributes:
        num_tokens: Tokens delivered so far.
        finished: The server said that the answer is complete.
    """

    def __init__(self) -> None:
        self.num_tokens = 0
        self.finished = False
        self._tail = b""
        self._chunk = _CHUNK_DECODER

    def feed(self, data: bytes) -> int:
        """Take the next bytes; return how many tokens they complete.

        Raises:
            StreamError: The server sent an error event, or an event that is not a chunk.
        """
        before = self.num_tokens
        *lines, self._tail = (self._tail + data).split(b"\n")
        if len(self._tail) > MAX_LINE_BYTES:
            raise StreamError("malformed", f"a line has more than {MAX_LINE_BYTES} bytes")
        for line in lines:
            if line.startswith(b"data:"):
                self._take(line[5:].strip())
        return self.num_tokens - before

    def _take(self, payload: bytes) -> None:
        if payload == b"[DONE]":
            self.finished = True
            return
        try:
            chunk = self._chunk.decode(payload)
        except _UNREADABLE as error:
            raise StreamError("malformed", f"{error}: {payload[:200]!r}") from error
        if chunk.error != _NO_ERROR:
            raise StreamError("error_event", error_message(payload))
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        if chunk.usage is not None:
            self.num_tokens = max(self.num_tokens, chunk.usage.completion_tokens)
        elif choice.text:
            self.num_tokens += 1
        self.finished = self.finished or choice.finish_reason is not None


def error_message(body: bytes) -> str:
    """What an OpenAI error body says, or its first 200 bytes where it is something else."""
    try:
        return msgspec.json.decode(body, type=dict[str, _Error])["error"].message
    except (*_UNREADABLE, KeyError):
        return body[:200].decode(errors="replace").strip()


_CHUNK_DECODER = msgspec.json.Decoder(_Chunk)
# Text that is no Unicode, and nesting too deep, are errors of Python's own.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_ERROR = msgspec.Raw(b"null")
