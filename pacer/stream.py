"""The asyncio side: one task reads the stream, and whoever iterates is shown its text."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pacer.breaks import Received, Resume, Stream, is_break
from pacer.chunks import Chunks, Delta, StreamBroken
from pacer.page import Log, Options, Page, Qoe

RETRY_S = 0.5
ATTEMPTS = 3


class Pacer:
    """The text of one stream, at its reader's pace: `async for text in pacer`.

    Made by `paced`, inside a running event loop. Read once.

    Invariants:
        The texts, joined, are the text of the stream.
        One task while somebody iterates; none after the end, an error, a cancellation or
        a `break`, after which the stream is closed too.
        The stream is read as fast as it comes; what has not been shown is kept.

    Args:
        stream: Of text or of chunks, or what gives one when awaited.
        options: How it is shown.
        resume: Asked for the rest of a stream that broke off.
        on_reasoning: Told the reasoning, as it comes.
        on_tool_calls: Told the parts of calls of tools, as they come.
    """

    def __init__(
        self,
        stream: Stream,
        options: Options,
        *,
        resume: Resume | None = None,
        on_reasoning: Callable[[str], None] | None = None,
        on_tool_calls: Callable[[Sequence[Any]], None] | None = None,
        started_at_s: float | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._started_at_s = self._loop.time() if started_at_s is None else started_at_s
        self._stream: Any = stream
        self._resume = resume
        self._on_reasoning, self._on_tool_calls = on_reasoning, on_tool_calls
        self._page = Page(options)
        self._chunks = Chunks()
        self._received: list[str] = []
        self._token_ids: list[int] = []
        self._tokens_before = 0
        self._pump: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._look_at_s = float("inf")
        self._error: Exception | None = None
        self._is_closed = False

    @property
    def log(self) -> Log:
        """When each token came and when it was shown, in seconds since the request."""
        return self._page.log

    @property
    def qoe(self) -> Qoe:
        """Area QoE so far, of what came and of what was shown."""
        return self._page.qoe

    @property
    def request_id(self) -> str | None:
        """What the service calls the stream, for feedback; None before the first chunk."""
        return self._chunks.request_id

    @property
    def buffer_tokens(self) -> int:
        """Tokens that came and were not shown."""
        return self._page.tokens_left

    @property
    def is_paused(self) -> bool:
        """Whether the reader has paused."""
        return self._page.is_paused

    @property
    def slack_s(self) -> float:
        """Seconds of text left to read; negative for a reader who waits for more."""
        return self._page.slack_s(self._now_s())

    def skip_to_end(self) -> None:
        """Show all that has come now, and the rest as it comes; a pause is over."""
        now_s = self._now_s()
        self._page.resume(now_s)
        self._page.flush(now_s)
        self._page.speed(now_s, None)
        self._wake()

    def pause(self) -> None:
        """Show nothing more until `resume`; the stream is read on."""
        self._page.pause(self._now_s())
        self._wake()

    def resume(self) -> None:
        """Go on where the pause began."""
        self._page.resume(self._now_s())
        self._wake()

    def speed(self, tds: float | None) -> None:
        """Go on at `tds` tokens/s; None shows text as it comes.

        Raises:
            ExpectationError: `tds` is out of range.
        """
        self._page.speed(self._now_s(), tds)
        self._wake()

    async def aclose(self) -> None:
        """Stop reading and close the stream; whoever iterates comes to an end."""
        self._is_closed = True
        self._wake()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        stream, self._stream = self._stream, None
        await _close(stream)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[str]:
        if self._pump is not None or self._is_closed:
            raise RuntimeError("a paced stream is read once")
        self._pump = asyncio.create_task(self._read())
        try:
            while not (self._is_closed or self._page.is_done):
                if text := self._page.look(self._now_s()):
                    yield text
                elif not self._page.is_done:
                    await self._wait()
            if self._error is not None and not self._is_closed:
                raise self._error
        finally:
            await self.aclose()

    def _now_s(self) -> float:
        return self._loop.time() - self._started_at_s

    async def _wait(self) -> None:
        """Until the page has something to show, or somebody wakes us."""
        next_at_s = self._page.next_at_s()
        self._look_at_s = float("inf") if next_at_s is None else next_at_s
        self._waiter = self._loop.create_future()
        timer = None
        if next_at_s is not None:
            timer = self._loop.call_at(self._started_at_s + next_at_s, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _read(self) -> None:
        """Everything the stream says, onto the page."""
        failures = 0
        try:
            while True:
                had = len(self._received)
                try:
                    await self._read_one()
                    return
                except Exception as error:
                    failures = 1 if len(self._received) > had else failures + 1
                    if self._resume is None or not is_break(error) or failures > ATTEMPTS:
                        raise
                    await _close(self._stream)
                    await asyncio.sleep(RETRY_S)
                    self._stream = self._resume(self._so_far())
        except Exception as error:
            self._error = error
        except asyncio.CancelledError:
            # Not by us: an answer that is cut must not look like a whole one.
            self._error = StreamBroken("the reading of the stream was cancelled")
            raise
        finally:
            self._page.end()
            self._wake()

    async def _read_one(self) -> None:
        if inspect.isawaitable(self._stream):
            self._stream = await self._stream
        self._chunks = chunks = Chunks()
        self._tokens_before = len(self._page.log.delivered_at_s)
        async for item in _iterable(self._stream):
            self._take(chunks.read(item))
        if chunks.is_cut:
            raise StreamBroken("the stream ended in the middle of its answer")

    def _take(self, delta: Delta) -> None:
        if delta.reasoning and self._on_reasoning is not None:
            self._on_reasoning(delta.reasoning)
        if delta.tool_calls and self._on_tool_calls is not None:
            self._on_tool_calls(delta.tool_calls)
        if self._resume is not None:
            self._token_ids += delta.token_ids
            self._received += [delta.text] if delta.text else []
        now_s = self._now_s()
        self._page.push(now_s, delta.text, delta.tokens)
        if delta.all_tokens is not None:
            self._page.recount(now_s, self._tokens_before + delta.all_tokens)
        if self._waiter is not None:
            next_at_s = self._page.next_at_s()
            if next_at_s is not None and next_at_s < self._look_at_s:
                self._wake()

    def _so_far(self) -> Received:
        now_s = self._now_s()
        return Received(
            "".join(self._received),
            tuple(self._token_ids),
            now_s,
            self._page.slack_s(now_s),
        )


def _iterable(stream: Any) -> Any:
    if hasattr(stream, "__aiter__"):
        return stream
    raise TypeError(
        f"stream={type(stream).__name__} is invalid: it must be an async iterable, such as "
        "AsyncOpenAI gives"
    )


async def _close(stream: Any) -> None:
    """Close what can be closed: generators, the SDK's streams, a request not awaited."""
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
    if close is not None:
        closing: Awaitable[None] | None = close()
        if inspect.isawaitable(closing):
            await closing
