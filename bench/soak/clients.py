"""The clients of a soak: each asks, reads, goes on after a break, leaves or is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from bench.soak.bad import bad_requests
from bench.soak.plan import PlannedAsk
from bench.soak.reference import References, Transcript
from bench.soak.results import FAILED, FINISHED, LEFT, REFUSED, Break, Ended, Silence
from bench.soak.wire import (
    CHAT,
    COMPLETIONS,
    SILENT_S,
    SLOW_BYTES,
    Answer,
    BrokenError,
    leave,
    problem,
    read_whole,
    require_ok,
)
from scheduler.patience import retry_after_of

PROMPTS = ("A river", "Tell me a story. " * 8, "x" * 400, "The sea, and what is in it")
# A client that gets no further in this time gives up.
GIVES_UP_S = 120.0
AGAIN_S, MOST_AGAIN_S = 0.5, 4.0
PATIENCE_S = 2.0
_ATTEMPT_ERRORS = (aiohttp.ClientError, OSError, BrokenError, TimeoutError)


class Clients:
    """All clients of a soak, and what became of them.

    Args:
        base_url: Of the service, up to and including `/v1`.
        model: As it is called.
        headers: Of every request.
        tell: Is called with a stream whose tokens are wrong, when they are.

    Attributes:
        started: Requests that were sent.
        ended: Those that ended, in that order.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        headers: Mapping[str, str],
        tell: Callable[[str], None],
    ) -> None:
        self._base_url, self._model, self._headers = base_url, model, headers
        self._say = tell
        self._bad = bad_requests(model)
        self._references = References()
        self._begun_s = time.monotonic()
        self.started = 0
        self.ended: list[Ended] = []

    def now_s(self) -> float:
        """Since the start of the soak."""
        return time.monotonic() - self._begun_s

    def begin(self) -> None:
        """The soak starts now."""
        self._begun_s = time.monotonic()

    async def run(self, asks: Sequence[PlannedAsk], until_s: float) -> None:
        """Send the requests, each at its time, and wait for all of them until then."""
        async with self._sessions() as sessions, asyncio.TaskGroup() as tasks:
            waiting = []
            for ask in asks:
                await asyncio.sleep(ask.at_s - self.now_s())
                waiting.append(tasks.create_task(self._client(ask, sessions)))
            _, late = await asyncio.wait(waiting, timeout=max(0.0, until_s - self.now_s()))
            for task in late:
                task.cancel()

    async def undisturbed(self, tokens: int) -> None:
        """Read so much of every answer, with nothing else on the service."""
        ends = []
        async with self._sessions() as sessions:
            for prompt in range(len(PROMPTS)):
                for kind in ("short", "chat"):
                    ends.append(
                        await self._ended(PlannedAsk(0.0, kind, prompt, tokens), sessions)
                    )
        assert all(one.ending == FINISHED and not one.difference for one in ends), ends

    async def _client(self, ask: PlannedAsk, sessions: _Sessions) -> None:
        self.started += 1
        ended = await self._ended(ask, sessions)
        if ended.difference:
            self._say(f"{ended.kind} at {ended.began_s:.0f} s: {ended.difference}")
        self.ended.append(ended)

    async def _ended(self, ask: PlannedAsk, sessions: _Sessions) -> Ended:
        path = CHAT if ask.kind == "chat" else COMPLETIONS
        client = _Client(ask, Transcript(self._references.of(path, ask.prompt)), self.now_s)
        began_s = self.now_s()
        try:
            body = self._bad_body(ask) if ask.kind == "bad" else None
            ending, reason = await client.asks(
                sessions.of(ask), f"{self._base_url}/{path}", self._model, body
            )
        except asyncio.CancelledError:
            ending, reason = FAILED, "still there when the soak ended"
        except Exception as error:
            # A bug of the client; the check of endings tells it.
            ending, reason = "", f"{type(error).__name__}: {error}"
        return Ended(
            kind=ask.kind + (f" ({ask.way})" if ask.way else ""),
            ending=ending,
            reason=reason,
            began_s=began_s,
            ended_s=self.now_s(),
            tokens=len(client.reading.ids),
            breaks=client.breaks,
            silences=client.silences,
            difference=client.reading.difference,
        )

    def _bad_body(self, ask: PlannedAsk) -> bytes:
        return list(self._bad.values())[ask.choice % len(self._bad)]

    @asynccontextmanager
    async def _sessions(self) -> AsyncIterator[_Sessions]:
        async with AsyncExitStack() as stack:

            async def session(**options: Any) -> aiohttp.ClientSession:
                return await stack.enter_async_context(
                    aiohttp.ClientSession(
                        connector=aiohttp.TCPConnector(limit=0, force_close=True),
                        timeout=aiohttp.ClientTimeout(
                            total=None, sock_connect=5.0, sock_read=SILENT_S
                        ),
                        headers={"Content-Type": "application/json", **self._headers},
                        **options,
                    )
                )

            yield _Sessions(
                usual=await session(),
                slow=await session(read_bufsize=SLOW_BYTES),
                old=await session(version=aiohttp.HttpVersion10),
            )


class _Sessions:
    """How clients speak HTTP, by what they are."""

    def __init__(
        self,
        usual: aiohttp.ClientSession,
        slow: aiohttp.ClientSession,
        old: aiohttp.ClientSession,
    ) -> None:
        self._usual, self._slow, self._old = usual, slow, old

    def of(self, ask: PlannedAsk) -> aiohttp.ClientSession:
        """The one of whoever asks so."""
        if ask.way == "http-1.0":
            return self._old
        return self._slow if ask.kind == "slow" else self._usual


class _Client:
    """One client over all its attempts."""

    def __init__(
        self, ask: PlannedAsk, reading: Transcript, now_s: Callable[[], float]
    ) -> None:
        self._ask, self.reading, self._now_s = ask, reading, now_s
        self._began_s = now_s()
        self._response: aiohttp.ClientResponse | None = None
        self.breaks: list[Break] = []
        self.silences: list[Silence] = []

    async def asks(
        self, session: aiohttp.ClientSession, url: str, model: str, bad: bytes | None
    ) -> tuple[str, str]:
        """Ask until there is an end; how it ended, and why."""
        again_s, gives_up_s = AGAIN_S, self._began_s + GIVES_UP_S
        while True:
            received = len(self.reading.ids)
            try:
                return await self._attempt(session, url, bad or self._body(model), bad)
            except _ATTEMPT_ERRORS as error:
                said = problem(error)
                if self._is_refused(error, bad):
                    return REFUSED, said
                self.breaks.append(Break(self._now_s(), said))
            if len(self.reading.ids) == self._ask.tokens:
                return FINISHED, "cut after its last token"
            if len(self.reading.ids) > received:
                again_s, gives_up_s = AGAIN_S, self._now_s() + GIVES_UP_S
            if self._now_s() > gives_up_s:
                return FAILED, self.breaks[-1].reason
            await asyncio.sleep(again_s)
            again_s = min(2.0 * again_s, MOST_AGAIN_S)

    async def _attempt(
        self, session: aiohttp.ClientSession, url: str, body: bytes, bad: bytes | None
    ) -> tuple[str, str]:
        ask, self._response = self._ask, None
        left_s = self._began_s + ask.leaves_after_s - self._now_s()
        try:
            async with asyncio.timeout(max(0.0, left_s) if ask.way else None):
                await self._read(session, url, body)
        except TimeoutError:
            if not ask.way or self._now_s() < self._began_s + ask.leaves_after_s:
                raise
            await leave(self._response, ask.way)
            return LEFT, f"left by {ask.way}"
        finally:
            if self._response is not None:
                self._response.close()
        if bad is not None:
            return FAILED, "a bad request was answered"
        if len(self.reading.ids) != ask.tokens:
            return FAILED, f"{len(self.reading.ids)} tokens, not {ask.tokens}"
        return FINISHED, ""

    async def _read(self, session: aiohttp.ClientSession, url: str, body: bytes) -> None:
        answer = Answer(self.reading, self._now_s)
        try:
            self._response = await session.post(url, data=body)
            await require_ok(self._response)
            if self._is_stream:
                await answer.read(self._response, slowly=self._ask.kind == "slow")
            else:
                await read_whole(self._response, self.reading)
        finally:
            if self._is_stream:
                answer.on_bytes()
                self.silences += answer.silences

    @property
    def _is_stream(self) -> bool:
        return self._ask.kind != "whole" and self._ask.way != "timeout"

    def _is_refused(self, error: BaseException, bad: bytes | None) -> bool:
        """Whether the service has said for good that it will not."""
        if bad is not None:
            return isinstance(error, BrokenError) and 400 <= error.status < 500
        is_told = isinstance(error, BrokenError) and retry_after_of(error.message)
        return self._ask.kind == "hasty" and bool(is_told)

    def _body(self, model: str) -> bytes:
        ask = self._ask
        prompt: dict[str, Any] = {"prompt": PROMPTS[ask.prompt]}
        if ask.kind == "chat":
            said = [{"role": "user", "content": PROMPTS[ask.prompt]}]
            prompt = {"messages": said}
        return msgspec.json.encode(
            prompt
            | {
                "model": model,
                "max_tokens": ask.tokens,
                "temperature": 0,
                "ignore_eos": True,
                "return_token_ids": True,
                "stream": self._is_stream,
                "vllm_xargs": self._fields(),
            }
        )

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if self._ask.kind == "hasty":
            fields["qoe_patience_s"] = PATIENCE_S
        if self.reading.ids:
            fields["qoe_resume_token_ids"] = self.reading.ids
            fields["qoe_age_s"] = self._now_s() - self._began_s
        return fields
