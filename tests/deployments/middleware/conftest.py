"""A client of the middleware, and the app behind it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from deployments.access.caller import SCOPE_KEY, Caller
from deployments.middleware import QoEFieldsMiddleware
from qoe import PROFILES, Caps

JSON_HEADERS = [(b"content-type", b"application/json")]
PROMPT = {"model": "tiny", "prompt": "hi"}
ANYBODY = Caller(None, Caps())


class App:
    """An ASGI app that reads its request, waits for the client to go, and keeps both."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            message = await receive()
            self.seen.append(message)
            await send({"type": "http.response.body", "body": b".", "more_body": True})
            if message["type"] == "http.disconnect":
                return

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.seen)


class Client:
    """Plays `messages` to the middleware, then goes away when told."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self.app = App()
        self.leaves = asyncio.Event()
        self._messages = iter(messages)

    async def receive(self) -> dict[str, Any]:
        for message in self._messages:
            return message
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def request(self, **scope: Any) -> None:
        middleware = QoEFieldsMiddleware(
            self.app,  # type: ignore[arg-type]
            default=PROFILES["reading"].expectation,
        )
        full = {
            "type": "http",
            "method": "POST",
            "path": "/v1/completions",
            "headers": JSON_HEADERS,
            SCOPE_KEY: ANYBODY,
            **scope,
        }
        await middleware(full, self.receive, self.send)  # type: ignore[arg-type]


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def ask(body: bytes, **scope: Any) -> Client:
    client = Client(part(body))
    client.leaves.set()
    await client.request(**scope)
    return client


def with_fields(fields: Any) -> bytes:
    return json.dumps(PROMPT | {"vllm_xargs": fields}).encode()


def error_of(client: Client) -> dict[str, Any]:
    start, body = client.sent
    assert start["status"] == 400
    error: dict[str, Any] = json.loads(body["body"])["error"]
    assert error["code"] == 400
    assert error["type"] == "BadRequestError"
    return error
