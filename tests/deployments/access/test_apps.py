"""Both apps that answer HTTP, as a service builds them; only the engine is missing."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from ray.llm._internal.serve.core.ingress.ingress import make_fastapi_ingress
from ray.serve.llm import LLMConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import FrontendArgs
from vllm.entrypoints.openai.api_server import build_app

from deployments.access.body_limit import MAX_BODY_BYTES
from deployments.access.guard import AccessSettings
from deployments.access.keys import KEYS_ENV
from deployments.ingress import ResumingIngress, serve_feedback
from deployments.server import ACCESS_KEY, AndesServer
from qoe import PROFILES

# Serve awaits `__del__`; the garbage collector calls it and cannot.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .*__del__:RuntimeWarning")

KEY = {"authorization": "Bearer of-a-test-of-both-apps"}
ACCESS = AccessSettings()
FREE = {"/health", "/ping"}
# All that a service answers besides: whoever has a key may ask for each of it.
FOR_CLIENTS = {
    *("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"),
    *("/load", "/version", "/metrics", "/v1/models", "/v1/models/{model:path}"),
    *("/tokenize", "/detokenize", "/invocations", "/generative_scoring"),
    *("/v1/chat/completions", "/v1/chat/completions/batch", "/v1/completions"),
    *("/v1/responses", "/v1/responses/{response_id}"),
    *("/v1/responses/{response_id}/cancel", "/inference/v1/generate"),
    *("/v1/messages", "/v1/messages/count_tokens", "/v1/messages/render"),
    *("/v1/chat/completions/render", "/v1/chat/completions/derender"),
    *("/v1/completions/render", "/v1/completions/derender"),
    *("/v1/embeddings", "/v1/audio/transcriptions", "/v1/score"),
    *("/v1/qoe/{request_id}", "/demo", "/demo/fleet", "/demo/pacer"),
}


class Engine:
    """vLLM's own app, and nothing behind it."""

    async def build_asgi_app(self) -> Any:
        args = vars(FrontendArgs()) | vars(AsyncEngineArgs(model="tiny"))
        return build_app(argparse.Namespace(**args), supported_tasks=("generate",))


async def _replica() -> Any:
    config = LLMConfig(
        model_loading_config={"model_id": "tiny"},
        accelerator_config={"kind": "cpu"},
        experimental_configs={ACCESS_KEY: ACCESS.model_dump()},
    )
    server = AndesServer.sync_init(config)
    server.engine = Engine()
    return await server.__serve_build_asgi_app__()


async def _ingress() -> Any:
    serve_feedback()
    ingress_class = make_fastapi_ingress(ResumingIngress)
    ingress = ingress_class.__new__(ingress_class)
    await ingress.__init__(
        llm_deployments={},
        model_cards={},
        max_continuations=1,
        resume_timeout_s=1.0,
        default_expectation=PROFILES["reading"].expectation,
        access=ACCESS,
    )
    return ingress.app


@pytest.fixture(params=[_replica, _ingress], ids=["replica", "ingress"])
async def app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An app that asks for a key."""
    monkeypatch.setenv(KEYS_ENV, KEY["authorization"].removeprefix("Bearer "))
    # Ray's usage statistics would start a cluster.
    monkeypatch.setattr("ray.serve._private.usage.ServeUsageTag.record", lambda *_: None)
    make: Callable[[], Any] = request.param
    return await make()


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


def paths_of(routes: Any) -> set[str]:
    return {
        route.path + below
        for route in routes
        for below in (paths_of(getattr(route, "routes", None) or ()) or {""})
    }


async def test_no_path_of_the_app_is_open_without_a_key_but_its_health(
    app: Any, client: httpx.AsyncClient
) -> None:
    paths = paths_of(app.routes) | {"/metrics"}
    assert {"/v1/chat/completions", "/v1/qoe/{request_id}", "/demo/fleet"} <= paths
    for path in paths:
        for method in ("GET", "POST", "DELETE"):
            answer = await client.request(method, path)
            assert (answer.status_code == 401) == (path not in FREE), (method, path)


async def test_nothing_is_there_for_clients_that_is_the_operators(
    app: Any, client: httpx.AsyncClient
) -> None:
    assert paths_of(app.routes) <= FREE | FOR_CLIENTS
    answer = await client.post(
        "/scale_elastic_ep", json={"new_data_parallel_size": 2}, headers=KEY
    )
    assert answer.status_code == 404


@pytest.mark.parametrize("length_told", [True, False])
async def test_a_body_that_nobody_needs_is_not_read_to_its_end(
    client: httpx.AsyncClient, length_told: bool
) -> None:
    read_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read_bytes
        while read_bytes < 4 * MAX_BODY_BYTES:
            read_bytes += 1 << 20
            yield b" " * (1 << 20)

    told = {"content-length": str(4 * MAX_BODY_BYTES)} if length_told else {}
    headers = KEY | {"content-type": "application/json"} | told
    answer = await client.post("/v1/completions", content=endless(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "BadRequestError"
    assert read_bytes <= (0 if length_told else MAX_BODY_BYTES + (1 << 20))


@pytest.mark.parametrize("media", ["application/json", "application/vnd.api+json"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/inference/v1/generate",
    ],
)
async def test_no_endpoint_takes_more_than_the_caps(
    client: httpx.AsyncClient, path: str, media: str
) -> None:
    fields = {"qoe_weight": 2}
    where: dict[str, Any] = {"vllm_xargs": fields}
    if path.startswith("/inference"):
        where = {"sampling_params": {"extra_args": fields}}
    answer = await client.post(
        path, json={"model": "tiny", **where}, headers=KEY | {"content-type": media}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "qoe_weight"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_a_body_that_nobody_can_read_is_the_clients_fault(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = KEY | {"content-type": "application/json"}
    answer = await client.post(path, content="[" * 20_000, headers=headers)
    assert answer.status_code == 400
    assert "nests too deep" in answer.json()["error"]["message"]
