"""An open-loop load generator for OpenAI-compatible endpoints.

It shares its machine with the service under test, so it does little per token: raw bytes
in, one clock reading per read, one typed JSON decode per chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace

import aiohttp

from bench.endpoint import Endpoint, authorization, connection_problem, request_body
from bench.load import Load, PlannedStream
from bench.results import CANCELLED, REFUSED, Stream
from bench.sse import StreamDecoder, StreamError, error_message
from scheduler.patience import retry_after_of

_PROGRESS_PERIOD_S = 0.5
# Session set-up costs a few ms; without a lead the first request would count them as lag.
_LEAD_S = 0.05
_OPEN_FILES = 65_536
_RETRY_S = 1.0


@dataclass(slots=True)
class Progress:
    """Running totals of a run, updated in place."""

    total: int
    sent: int = 0
    finished: int = 0
    failed: int = 0
    refused: int = 0
    tokens: int = 0


ProgressCallback = Callable[[Progress], None]


def run_load(
    load: Load, endpoint: Endpoint, *, on_progress: ProgressCallback | None = None
) -> list[Stream]:
    """Send every request at its arrival time, whatever the server does, and wait for all.

    Times count from the intended submission of each request, so that a client that falls
    behind makes the result worse, not better. An HTTP error, a lost connection, a timeout
    or an error event ends that stream only; its `error` names the kind.

    After Ctrl-C, requests in flight come back as `cancelled` and requests not yet sent do
    not come back.

    Args:
        load: What to send.
        endpoint: Where to.
        on_progress: Called about twice a second and once at the end, on the event loop: it
            must be quick.
    """
    return asyncio.run(stream_load(load, endpoint, on_progress=on_progress))


async def stream_load(
    load: Load, endpoint: Endpoint, *, on_progress: ProgressCallback | None = None
) -> list[Stream]:
    """`run_load` for a caller that has an event loop; cancel it to stop early."""
    _allow_open_files()
    progress = Progress(len(load.streams))
    tasks: list[asyncio.Task[Stream]] = []
    async with _session(endpoint) as session, _reporting(progress, on_progress):
        run = _Run(session, endpoint, progress, time.perf_counter() + _LEAD_S)
        try:
            for index, planned in enumerate(load.streams):
                await asyncio.sleep(run.start_s + planned.arrival_s - time.perf_counter())
                tasks.append(asyncio.create_task(run.stream(index, planned)))
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks if not task.cancelled()]


async def keep_busy(
    planned: Iterable[PlannedStream], endpoint: Endpoint, waiting: int, duration_s: float
) -> list[Stream]:
    """Closed-loop: so many requests always wait for their first token, until time is up.

    However much the server can run at once, it is full, and its queue is short. What is in
    flight at the end comes back as `cancelled`, with the tokens that it had. A request
    that failed has its successor a second later: who refuses is not hammered.

    Args:
        planned: What to send, in this order; their arrival times are not looked at.
        endpoint: Where to.
        waiting: Requests without a token at a time.
        duration_s: For how long.
    """
    _allow_open_files()
    streams: list[Stream] = []
    gate = asyncio.Semaphore(waiting)
    async with _session(endpoint) as session, asyncio.TaskGroup() as tasks:
        run = _Run(session, endpoint, Progress(0), time.perf_counter())

        async def send(index: int, stream: PlannedStream) -> None:
            ended = await run.stream(index, stream, on_first_token=gate.release)
            streams.append(ended)
            if not ended.delivered_at_s and ended.error != CANCELLED:
                await asyncio.sleep(_RETRY_S)
                gate.release()

        sent: list[asyncio.Task[None]] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                for index, stream in enumerate(planned):
                    await gate.acquire()
                    now_s = time.perf_counter() - run.start_s
                    one = send(index, replace(stream, arrival_s=now_s))
                    sent.append(tasks.create_task(one))
        for task in sent:
            task.cancel()
    return streams


class _Run:
    """What the streams of one run share."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        progress: Progress,
        start_s: float,
    ) -> None:
        self.start_s = start_s
        self._session = session
        self._endpoint = endpoint
        self._progress = progress

    async def stream(
        self,
        index: int,
        planned: PlannedStream,
        on_first_token: Callable[[], None] = lambda: None,
    ) -> Stream:
        """Send one request and read it to its end; never raises."""
        body = request_body(self._endpoint, index, planned)
        delivered_at_s: list[float] = []
        submitted_s = self.start_s + planned.arrival_s
        send_lag_s = max(0.0, time.perf_counter() - submitted_s)
        error: BaseException | None = None
        self._progress.sent += 1
        try:
            await self._read(body, submitted_s, delivered_at_s, on_first_token)
        except (
            aiohttp.ClientError,
            asyncio.CancelledError,
            OSError,
            StreamError,
            TimeoutError,
        ) as caught:
            error = caught
            if _kind(error) == REFUSED:
                self._progress.refused += 1
            else:
                self._progress.failed += 1
        self._progress.finished += 1
        return Stream(
            arrival_s=planned.arrival_s,
            input_tokens=planned.input_tokens,
            output_tokens=planned.output_tokens,
            ttft_s=planned.expectation.ttft_s,
            tds=planned.expectation.tds,
            delivered_at_s=delivered_at_s,
            error=_kind(error),
            error_message=connection_problem(error) if error else None,
            send_lag_s=send_lag_s,
        )

    async def _read(
        self,
        body: bytes,
        submitted_s: float,
        delivered_at_s: list[float],
        on_first_token: Callable[[], None],
    ) -> None:
        url = f"{self._endpoint.base_url}/completions"
        decoder = StreamDecoder()
        async with self._session.post(url, data=body) as response:
            if response.status != 200:
                message = error_message(await response.read())
                is_refused = retry_after_of(message) is not None
                kind = REFUSED if is_refused else f"http_{response.status}"
                raise StreamError(kind, message)
            async for data in response.content.iter_any():
                now_s = time.perf_counter() - submitted_s
                num_tokens = decoder.feed(data)
                if num_tokens and not delivered_at_s:
                    on_first_token()
                delivered_at_s.extend([now_s] * num_tokens)
                self._progress.tokens += num_tokens
        if not decoder.finished:
            raise StreamError("disconnected", "the stream ended before its answer did")


def _session(endpoint: Endpoint) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # One connection a reader, as readers have it. Reuse would also race with servers
        # that close an idle connection while the next request is on its way.
        connector=aiohttp.TCPConnector(limit=0, force_close=True, ttl_dns_cache=None),
        timeout=aiohttp.ClientTimeout(
            total=None,
            sock_connect=endpoint.connect_timeout_s,
            sock_read=endpoint.read_timeout_s,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            # A proxy that compresses would hold tokens back.
            "Accept-Encoding": "identity",
            **authorization(),
        },
    )


@contextlib.asynccontextmanager
async def _reporting(
    progress: Progress, on_progress: ProgressCallback | None
) -> AsyncIterator[None]:
    if on_progress is None:
        yield
        return
    report = asyncio.create_task(_report(progress, on_progress))
    try:
        yield
    finally:
        report.cancel()
        on_progress(progress)


async def _report(progress: Progress, on_progress: ProgressCallback) -> None:
    while True:
        on_progress(progress)
        await asyncio.sleep(_PROGRESS_PERIOD_S)


def _kind(error: BaseException | None) -> str | None:
    match error:
        case None:
            return None
        case StreamError():
            # After a comment the status has been said, and a refusal is an event.
            is_event = error.kind == "error_event"
            is_refused = is_event and retry_after_of(str(error)) is not None
            return REFUSED if is_refused else error.kind
        case asyncio.CancelledError():
            return CANCELLED
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorError():
            return "connection"
        case _:
            return "disconnected"


def _allow_open_files() -> None:
    """Every live stream holds a socket; the usual soft limit of 1024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS has a hard limit of infinity and refuses a soft one.
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
