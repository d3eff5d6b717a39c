"""The page at `/demo`: its files, and what the replicas report at the moment.

It lives inside the application whose API it uses: nothing more is deployed, and whether the
service is healthy does not depend on it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from deployments.asgi import ASGIApp, Message, Receive, Scope, Send
from deployments.tiny_model import PROJECT_ROOT

logger = logging.getLogger(__name__)

PATH = "/demo"
PAGE_DIR = PROJECT_ROOT / "web" / "static"
PACER_DIR = PROJECT_ROOT / "pacer" / "js"
# Nothing but its own files runs in the page, whatever a model writes; nobody frames it.
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        b"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
# Every replica is asked once in that time, however many people look.
FRESH_S = 0.25
ANSWER_TIMEOUT_S = 5.0

Answer = Mapping[str, Any]


class FleetReports:
    """What all replicas report, for whoever looks.

    Args:
        handle: Makes a Serve handle of the replicas; called when somebody first looks.
        now_s: A monotonic clock.
    """

    def __init__(
        self, handle: Callable[[], Any], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._make_handle = handle
        self._now_s = now_s
        self._handle: Any = None
        self._lock = asyncio.Lock()
        self._seen: dict[str, Any] = {}
        self._seen_at_s = float("-inf")

    async def latest(self) -> dict[str, Any]:
        """`fleet_view` of the replicas, at most `FRESH_S` old.

        Raises:
            Exception: Serve could not ask anybody; of its own kinds, or a TimeoutError.
        """
        async with self._lock:
            if self._now_s() - self._seen_at_s >= FRESH_S:
                self._handle = self._handle or self._make_handle()
                answers = await self._handle.broadcast("engine_report").results_async(
                    timeout_s=ANSWER_TIMEOUT_S, return_exceptions=True
                )
                self._seen, self._seen_at_s = fleet_view(answers), self._now_s()
            return self._seen


def fleet_view(answers: Sequence[Answer | BaseException]) -> dict[str, Any]:
    """The replicas in order of their ids, and how many were asked in vain.

    Streams are counted once: `waiting` are those that have not begun. Memory is in tokens.
    """
    answered = [answer for answer in answers if not isinstance(answer, BaseException)]
    views = [_replica_view(answer) for answer in answered]
    return {
        "replicas": sorted(views, key=lambda view: str(view["id"])),
        "silent": len(answers) - len(answered),
    }


def _replica_view(answer: Answer) -> dict[str, Any]:
    # None before the engine's first step.
    report = answer["report"] or {}
    block = report.get("block_size_tokens", 0)
    preempted = report.get("preempted", 0)
    return {
        "id": answer["replica_id"],
        "accepting": report.get("accepting", True),
        "kv_used_tokens": report.get("kv_blocks_used", 0) * block,
        "kv_total_tokens": report.get("kv_blocks_total", 0) * block,
        "running": report.get("running", 0),
        "waiting": report.get("waiting", 0) - preempted,
        "preempted": preempted,
        "qoe_mean": report.get("qoe_mean", 1.0),
        "below_target": report.get("streams_below_target", 0),
        "tokens_total": report.get("tokens_total", 0),
    }


class SafeHeaders:
    """Tells a browser what the page may do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self._app(scope, receive, told)


def mount_demo_page(
    app: Starlette,
    reports: FleetReports,
    page_dir: Path = PAGE_DIR,
    pacer_dir: Path = PACER_DIR,
) -> None:
    """Have `app` serve the page under `PATH`; without its files, the service has none."""
    if not (page_dir.is_dir() and pacer_dir.is_dir()):
        logger.warning("There is no page at %s: its files are not installed.", PATH)
        return

    async def to_page(request: Request) -> Response:
        # The page's own links start at its folder.
        return RedirectResponse(f"{request.scope['path'].rpartition('/')[2]}/")

    async def fleet(_: Request) -> Response:
        try:
            return JSONResponse(await reports.latest())
        except Exception as error:
            logger.warning("No replica could be asked for its report: %r", error)
            return JSONResponse({"error": "no replica could be asked"}, status_code=503)

    page = Starlette(
        routes=[
            Route("/fleet", fleet),
            Mount("/pacer", StaticFiles(directory=pacer_dir)),
            Mount("/", StaticFiles(directory=page_dir, html=True)),
        ],
        middleware=[
            Middleware(SafeHeaders),
            Middleware(GZipMiddleware, minimum_size=1024),
        ],
    )
    app.router.routes[:0] = [Route(PATH, to_page), Mount(PATH, page)]
