"""A replica's app, real from the key to the engine's door: who gets through, as whom."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deployments.access import guard as module
from deployments.access.caller import ShareBy, caller_of
from deployments.access.caps import CapArgs
from deployments.access.guard import AccessSettings, guard
from deployments.access.keys import KEYS_ENV
from deployments.demo_page import FleetReports, mount_demo_page
from deployments.feedback import PATH, FeedbackLimit, respond
from qoe import PROFILES, Feedback

APP, VOICE = "a" * 32, "v" * 32
KEYS = f"""
- {{name: app, key: {APP}, max_requests_per_s: 2}}
- {{name: voice, key: {VOICE}, default_profile: listening, max_weight: 3, share: 2}}
"""
STREAM = "chatcmpl-5f0c2d3a-1111-4222-8333-444455556666"
GUARDED = [
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", f"/v1/qoe/{STREAM}"),
    ("GET", "/demo"),
    ("GET", "/demo/"),
    ("GET", "/demo/fleet"),
    ("GET", "/metrics"),
    ("GET", "/health/"),
    ("GET", "/no-such-path"),
]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(b"me:" + key.encode()).decode()}


class Replicas:
    """A Serve handle of no replica."""

    def broadcast(self, method: str) -> Replicas:
        return self

    async def results_async(self, **_: Any) -> list[Any]:
        return []


async def engine(request: Request) -> Response:
    """What the engine would be asked, and by whom."""
    asked = json.loads(await request.body() or b"{}")
    said = request.headers.get("authorization")
    caller = caller_of(request.scope).name
    return JSONResponse({"caller": caller, "asked": asked, "authorization": said})


async def _qoe(request: Request) -> Response:
    async def tell(request_id: str, feedback: Feedback) -> bool:
        return True

    limit = FeedbackLimit()
    return await respond(request.path_params["request_id"], request, tell, limit)


def _app(
    keys: str, root_path: str = "", share_by: ShareBy = "key", **caps: float
) -> httpx.AsyncClient:
    async def plain(_: Request) -> Response:
        return PlainTextResponse("well")

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", engine, methods=["POST"]),
            Route("/v1/models", engine),
            Route("/inference/v1/generate", engine, methods=["POST"]),
            Route(PATH, _qoe, methods=["POST"]),
            *(Route(path, plain) for path in ("/health", "/ping", "/metrics")),
        ]
    )
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    settings = AccessSettings(caps=CapArgs(**caps), share_by=share_by)
    guard(app, settings, PROFILES["reading"].expectation, {KEYS_ENV: keys})
    mount_demo_page(app, FleetReports(Replicas))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, root_path=root_path),
        base_url=f"http://replica{root_path}",
    )


@pytest.fixture
async def guarded() -> AsyncIterator[httpx.AsyncClient]:
    async with _app(KEYS) as client:
        yield client


@pytest.mark.parametrize("headers", [{}, bearer("x" * 32), bearer(""), basic("x" * 32)])
@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_a_key_nothing_is_reached(
    guarded: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await guarded.request(method, path, headers=headers)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("AuthenticationError", 401)
    scheme = "Basic" if path.startswith("/demo") else "Bearer"
    assert answer.headers["www-authenticate"].startswith(scheme)


@pytest.mark.parametrize("send", [bearer, basic])
@pytest.mark.parametrize(("method", "path"), GUARDED[:-2])
async def test_with_a_key_everything_is_reached(
    guarded: httpx.AsyncClient,
    method: str,
    path: str,
    send: Callable[[str], dict[str, str]],
) -> None:
    body = b'{"paused": true}' if "qoe" in path else b"{}"
    answer = await guarded.request(method, path, headers=send(VOICE), content=body)
    assert answer.status_code in (200, 204, 307)


@pytest.mark.parametrize("path", ["/health", "/ping"])
async def test_whether_a_service_is_well_is_no_secret(
    guarded: httpx.AsyncClient, path: str
) -> None:
    assert (await guarded.get(path)).status_code == 200


async def test_a_browser_asks_first_without_a_key_and_learns_nothing(
    guarded: httpx.AsyncClient,
) -> None:
    headers = {
        "origin": "http://elsewhere",
        "access-control-request-method": "POST",
    }
    answer = await guarded.options("/v1/chat/completions", headers=headers)
    assert answer.status_code == 200


async def test_a_remembered_password_does_not_serve_another_sites_page(
    guarded: httpx.AsyncClient,
) -> None:
    for site, status in [("cross-site", 401), ("same-site", 401), ("same-origin", 200)]:
        headers = basic(VOICE) | {"sec-fetch-site": site}
        answer = await guarded.get("/v1/models", headers=headers)
        assert answer.status_code == status, site


async def test_what_is_inside_sees_one_form_of_the_key(guarded: httpx.AsyncClient) -> None:
    answer = await guarded.get("/v1/models", headers=basic(VOICE))
    assert answer.json()["authorization"] == f"Bearer {VOICE}"


async def test_a_request_is_served_as_its_key_says(guarded: httpx.AsyncClient) -> None:
    async def ask(key: str, **fields: Any) -> httpx.Response:
        body = {"stream": True, **({"vllm_xargs": fields} if fields else {})}
        path = "/v1/chat/completions"
        return await guarded.post(path, json=body, headers=bearer(key))

    voice = (await ask(VOICE)).json()
    assert voice["caller"] == "voice"
    own = {"qoe_profile": "listening", "qoe_tenant": "voice", "qoe_share": 2.0}
    assert voice["asked"]["vllm_xargs"] == own
    assert (await ask(APP)).json()["asked"]["vllm_xargs"] == {"qoe_tenant": "app"}
    assert (await ask(VOICE, qoe_weight=3)).status_code == 200
    refused = await ask(VOICE, qoe_weight=3.5)
    assert refused.status_code == 400
    assert "api_keys[voice].max_weight" in refused.json()["error"]["message"]
    refused = await ask(APP, qoe_weight=2)
    assert refused.json()["error"]["message"] == (
        "qoe_weight=2 is invalid: it must be from 0.01 to 1 readers here; the operator "
        "sets that limit with args.caps.max_weight."
    )


async def test_the_deployments_setting_tells_tenants_apart() -> None:
    async with _app("", share_by="user") as client:
        answers = [
            await client.post("/v1/chat/completions", json={"user": user})
            for user in ("a", "b", None)
        ]
    fields = [answer.json()["asked"].get("vllm_xargs", {}) for answer in answers]
    assert len({f["qoe_tenant"] for f in fields[:2]}) == 2
    assert not fields[2]


@pytest.mark.parametrize("keys", ["", KEYS], ids=["no key", "key"])
@pytest.mark.parametrize(("name", "value"), [("qoe_tenant", "other"), ("qoe_share", 100)])
async def test_nobody_says_whose_its_request_is(name: str, value: Any, keys: str) -> None:
    fields = {name: value}
    async with _app(keys) as client:
        for path, body in [
            ("/v1/chat/completions", {"vllm_xargs": fields}),
            ("/inference/v1/generate", {"sampling_params": {"extra_args": fields}}),
        ]:
            answer = await client.post(path, json=body, headers=bearer(VOICE))
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (400, name)
            assert "it must be left out: the deployment says whose" in error["message"]


async def test_parameters_that_go_to_the_engine_as_they_are_say_whose_they_are(
    guarded: httpx.AsyncClient,
) -> None:
    async def asked(params: Any) -> Any:
        body = {"token_ids": [1], "sampling_params": params}
        headers = bearer(VOICE)
        answer = await guarded.post("/inference/v1/generate", json=body, headers=headers)
        return answer.json()["asked"]["sampling_params"]

    own = {"qoe_tenant": "voice", "qoe_share": 2.0}
    assert await asked({"extra_args": {"mine": 1}}) == {"extra_args": {"mine": 1, **own}}
    assert await asked({"n": 1}) == {"n": 1, "extra_args": own}
    assert await asked("none") == "none"


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(
    guarded: httpx.AsyncClient,
) -> None:
    async def ask(key: str) -> httpx.Response:
        return await guarded.post("/v1/chat/completions", json={}, headers=bearer(key))

    answers = [await ask(APP) for _ in range(50)]
    refused = [answer for answer in answers if answer.status_code == 429]
    # Of 50 at once two pass, and as many more as the machine is slow.
    assert refused
    assert 1 <= int(refused[0].headers["retry-after"]) <= 2
    assert refused[0].json()["error"]["type"] == "RateLimitError"
    # Others, looking, and words of readers are not held up by it.
    assert (await ask(VOICE)).status_code == 200
    assert (await guarded.get("/v1/models", headers=bearer(APP))).status_code == 200
    word = await guarded.post(f"/v1/qoe/{STREAM}", json={"tds": 5}, headers=bearer(APP))
    assert word.status_code == 204


async def test_a_service_below_a_prefix_is_guarded_in_the_same_way() -> None:
    async with _app(KEYS, root_path="/llm") as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers=bearer(APP))).status_code == 200


async def test_without_keys_everybody_is_under_the_deployments_caps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    # Whether it is shown is for whoever has set up logging last.
    monkeypatch.setattr(module.logger, "warning", said.append)
    async with _app("") as client:
        (warning,) = said
        assert "no API key" in warning
        assert (await client.get("/demo/fleet")).status_code == 200
        body = {"vllm_xargs": {"qoe_weight": 2}}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 400
    async with _app("", max_weight=2) as client:
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200


async def test_a_socket_without_a_key_is_closed_before_it_opens() -> None:
    sent: list[Any] = []
    app = Starlette()
    guard(app, AccessSettings(), PROFILES["reading"].expectation, {KEYS_ENV: KEYS})
    scope = {"type": "websocket", "path": "/v1/realtime", "headers": [], "root_path": ""}

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
