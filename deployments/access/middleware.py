"""Asks for the API key before anything else of the service is reached."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping

from deployments.access.caller import SCOPE_KEY, Caller, path_of
from deployments.access.keys import Entry, Keyring
from deployments.access.rate import TokenBucket, retry_after_s
from deployments.asgi import ASGIApp, Receive, Scope, Send
from deployments.middleware import FEEDBACK_PREFIX
from qoe import Caps

# Asked by load balancers, which have no key; they say nothing but "well".
FREE_PATHS = ("/health", "/ping")
# A browser asks its user there, and sends the key with all that the page asks for.
PAGE_PREFIX = "/demo"
POLICY_VIOLATION = 1008


class AccessMiddleware:
    """Answers 401 without a key, 429 too often, and says to the app who asks.

    Invariants:
        With keys, nothing but `FREE_PATHS` and CORS preflights is reached without one.
        The app finds the caller in the scope of every request that reaches it.

    Args:
        app: What answers.
        caps: Of whoever asks where there are no keys.
        keyring: The keys; None to ask for none.
        now_s: Monotonic clock of the rates.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        caps: Caps,
        keyring: Keyring | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._anybody = Caller(None, caps)
        self._keyring = keyring
        self._buckets = {
            entry.digest: TokenBucket(entry.max_requests_per_s, now_s=now_s)
            for entry in (keyring.entries if keyring else ())
            if entry.max_requests_per_s is not None
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope[SCOPE_KEY] = self._anybody
        if self._keyring is not None and not _is_free(scope):
            entry = self._keyring.find(_token(scope))
            if entry is None:
                await refuse(scope, send, *_unauthorized(scope))
                return
            if wait_s := self._wait_s(scope, entry):
                await refuse(scope, send, *_too_often(entry, wait_s))
                return
            scope[SCOPE_KEY] = entry.caller
        await self._app(scope, receive, send)

    def _wait_s(self, scope: Scope, entry: Entry) -> float:
        bucket = self._buckets.get(entry.digest)
        is_work = scope.get("method") == "POST"
        if bucket is None or not is_work or path_of(scope).startswith(FEEDBACK_PREFIX):
            return 0.0
        return bucket.take()


def _is_free(scope: Scope) -> bool:
    # A preflight never carries a key.
    return scope.get("method") == "OPTIONS" or path_of(scope) in FREE_PATHS


def _token(scope: Scope) -> str:
    """The key that a request comes with; empty for none."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return given.strip().decode("latin-1")
    # Another site's page may have a browser send the password that it remembers.
    is_own = headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin")
    if scheme.lower() != b"basic" or not is_own:
        return ""
    try:
        password = base64.b64decode(given.strip()).partition(b":")[2]
    except binascii.Error:
        return ""
    # What is inside may ask for the key again, and knows one way to bring it.
    scope["headers"] = [
        (name, b"Bearer " + password if name == b"authorization" else value)
        for name, value in scope["headers"]
    ]
    return password.decode("latin-1")


def _unauthorized(scope: Scope) -> tuple[int, str, str, Mapping[str, str]]:
    scheme = "Basic" if path_of(scope).startswith(PAGE_PREFIX) else "Bearer"
    return (
        401,
        "AuthenticationError",
        "This service asks for an API key: send a valid one as the header "
        "'Authorization: Bearer KEY'.",
        {"www-authenticate": f'{scheme} realm="andes"'},
    )


def _too_often(entry: Entry, wait_s: float) -> tuple[int, str, str, Mapping[str, str]]:
    again_s = retry_after_s(wait_s)
    return (
        429,
        "RateLimitError",
        f"The API key {entry.caller.name!r} may send {entry.max_requests_per_s:g} requests "
        f"a second: try again in {again_s} s.",
        {"retry-after": str(again_s)},
    )


async def refuse(
    scope: Scope,
    send: Send,
    code: int,
    kind: str,
    message: str,
    headers: Mapping[str, str],
) -> None:
    """Answer with an error of OpenAI's shape."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    sent = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **headers,
    }
    pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": code, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
