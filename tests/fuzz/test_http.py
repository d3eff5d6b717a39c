"""Both apps that answer HTTP, as a service builds them, before a real engine on the CPU."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from ray.llm._internal.serve.core.ingress.ingress import make_fastapi_ingress
from ray.serve import context
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve.llm import LLMConfig

from deployments.access.guard import AccessSettings
from deployments.access.keys import KEYS_ENV
from deployments.feedback import EngineFeedback
from deployments.ingress import ResumingIngress, serve_feedback
from deployments.server import ACCESS_KEY, KEEP_ALIVE_KEY, AndesServer
from qoe import PROFILES
from qoe.fields import FIELDS

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    # Serve awaits `__del__`; the garbage collector calls it and cannot.
    pytest.mark.filterwarnings("ignore:coroutine .*__del__:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# No answer of a few tokens takes as long.
TIMEOUT_S = 60.0
ACCESS = AccessSettings()
LIMITS: dict[str, Any] = {"max_tokens": 2}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "a b", **LIMITS},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "a b"}], **LIMITS},
    "/v1/messages": {"messages": [{"role": "user", "content": "a b"}], **LIMITS},
    "/v1/responses": {"input": "a b", "max_output_tokens": 2},
    "/inference/v1/generate": {"token_ids": [5, 6], "sampling_params": dict(LIMITS)},
    "/tokenize": {"prompt": "a b"},
    "/detokenize": {"tokens": [5, 6]},
}
FEEDBACK = "/v1/qoe/chatcmpl-5f0c2d3a-1111-4222-8333-444455556666"
WORD = {"buffer_tokens": 12, "paused": False, "tds": 6}
SAID = {
    "qoe_profile": "listening",
    "qoe_ttft_s": 1.5,
    "qoe_tds": 6,
    "qoe_weight": 1,
    "qoe_patience_s": 60,
    "qoe_sheddable": True,
    "qoe_resume_token_ids": [5, 6],
    "qoe_age_s": 1,
    "qoe_slack_s": 2,
    "qoe_tenant": "t",
    "qoe_share": 2,
}


class Called:
    """What a Serve handle gives for a call: pickled, as Serve does it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for item in await self._answer:
            yield pickle.loads(pickle.dumps(item))

    async def results_async(self, **_: Any) -> list[Any]:
        return [await self._answer]

    def cancel(self) -> None:
        """Nobody reads on; the generator is closed with its reader."""


class Handle:
    """A handle of one replica, which is in this process."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def options(self, **_: Any) -> Handle:
        return self

    def broadcast(self, method: str, *args: Any) -> Called:
        return Called(getattr(self._server, method)(*args))

    def __getattr__(self, method: str) -> Any:
        class Method:
            @staticmethod
            def remote(*args: Any) -> Called:
                sent = pickle.loads(pickle.dumps(args))
                return Called(getattr(self._server, method)(*sent))

        return Method


class Service(NamedTuple):
    """Both apps, their key, and what the engine has to do."""

    apps: dict[str, Any]
    key: str
    live: Any


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(replica_engine: Any, llm: Any, secret: str) -> AsyncIterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        key = f"{secret}-of-whoever-asks"
        patch.setenv(KEYS_ENV, key)
        # Ray's usage statistics would start a cluster.
        patch.setattr("ray.serve._private.usage.ServeUsageTag.record", lambda *_: None)
        config = LLMConfig(
            model_loading_config={"model_id": "tiny"},
            accelerator_config={"kind": "cpu"},
            experimental_configs={ACCESS_KEY: ACCESS.model_dump(), KEEP_ALIVE_KEY: 3.0},
        )
        # As Serve LLM's engine does when it has started.
        state = replica_engine._app_state
        tokenization = getattr(state, "openai_serving_tokenization", None)
        replica_engine._oai_serving_tokenization = tokenization
        server = AndesServer.sync_init(config)
        server.engine, server._engine_feedback = replica_engine, EngineFeedback()
        patch.setattr("deployments.server._own_handle", lambda: Handle(server))
        serve_feedback()
        ingress_class = make_fastapi_ingress(ResumingIngress)
        ingress = ingress_class.__new__(ingress_class)
        patch.setattr(context, "_INTERNAL_REPLICA_CONTEXT", None)
        context._set_internal_replica_context(
            replica_id=ReplicaID("one", DeploymentID("ingress", "app")),
            servable_object=ingress,
            _deployment_config=None,
            rank=None,
            world_size=1,
        )
        await ingress.__init__(
            llm_deployments={"tiny": Handle(server)},
            model_cards={"tiny": object()},
            max_continuations=1,
            resume_timeout_s=5.0,
            default_expectation=PROFILES["reading"].expectation,
            keep_alive_interval_s=3.0,
            access=ACCESS,
        )
        replica = await server.__serve_build_asgi_app__()
        live = llm.output_processor.request_states
        yield Service({"replica": replica, "ingress": ingress.app}, key, live)
        server._engine_feedback.close()


async def asked(
    service: Service, app: str, path: str, content: bytes, **headers: str
) -> Any:
    """The answer to a POST, read to its end."""
    transport = httpx.ASGITransport(service.apps[app], raise_app_exceptions=False)
    given = {"authorization": f"Bearer {service.key}", "content-type": "application/json"}
    async with (
        asyncio.timeout(TIMEOUT_S),
        httpx.AsyncClient(transport=transport, base_url="http://app", timeout=None) as http,
    ):
        return await http.post(path, content=content, headers=given | headers)


def require_answer(answer: httpx.Response) -> None:
    """An answer, or an error of OpenAI's shape that is the client's."""
    assert answer.status_code < 500, (answer.status_code, answer.text[:300])
    if answer.status_code < 400:
        assert '"code":500' not in answer.text
        return
    error = answer.json()
    # What cannot be parsed is refused by vLLM's framework, in its own shape.
    said = error["error"]["message"] if "error" in error else error["detail"]
    assert isinstance(said, str)
    assert said


def body_of(path: str, secret: str, **more: Any) -> dict[str, Any]:
    text = json.dumps(BODIES[path]).replace("a b", f"a {secret} b")
    return {"model": "tiny", **json.loads(text), **more}


APPS = pytest.mark.parametrize("app", ["replica", "ingress"])


@APPS
@pytest.mark.parametrize("path", BODIES)
async def test_what_is_changed_below_is_answered(
    service: Service, secret: str, app: str, path: str
) -> None:
    answer = await asked(service, app, path, json.dumps(body_of(path, secret)).encode())
    require_answer(answer)
    # Not all of them are on the handle path.
    assert answer.status_code == 200 or app == "ingress", answer.text


@APPS
async def test_an_integer_that_no_engine_can_take_is_refused_and_leaves_nothing(
    service: Service, secret: str, app: str
) -> None:
    body = body_of("/v1/completions", secret) | {"vllm_xargs": {"mine": -(2**63) - 1}}
    answer = await asked(service, app, "/v1/completions", json.dumps(body).encode())
    assert answer.status_code == 400, answer.text
    assert "64 bits" in answer.json()["error"]["message"]
    assert not service.live


@APPS
@given(st.data())
async def test_a_qoe_field_is_honoured_or_refused_by_name(
    fuzz: Any, service: Service, secret: str, sentence: Any, app: str, data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3))
    fields = data.draw(fuzz.changed({name: SAID[name] for name in names}))
    path = data.draw(st.sampled_from(list(BODIES)[:5]))
    where = {"vllm_xargs": fields}
    if path.startswith("/inference"):
        where = {"sampling_params": LIMITS | {"extra_args": fields}}
    body = body_of(path, secret, stream=data.draw(st.booleans()), **where)
    answer = await asked(service, app, path, json.dumps(body).encode())
    require_answer(answer)
    error = answer.json().get("error") if answer.status_code == 400 else None
    if error and str(error.get("param")).startswith("qoe_"):
        assert sentence(error["message"]).startswith(error["param"])
    assert not service.live


@APPS
@given(st.data())
async def test_a_request_is_answered_or_refused(
    fuzz: Any, service: Service, secret: str, app: str, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(BODIES)))
    body = body_of(path, secret, stream=data.draw(st.booleans()), vllm_xargs={"qoe_tds": 6})
    content = data.draw(
        fuzz.garbled(json.dumps(body).encode())
        | fuzz.changed(body).map(lambda changed: json.dumps(changed).encode())
    )
    kind = data.draw(
        st.sampled_from(["application/json"] * 5 + ["application/a+json", "text/plain", ""])
    )
    require_answer(await asked(service, app, path, content, **{"content-type": kind}))


@APPS
@given(st.data())
async def test_a_word_of_a_reader_is_refused_or_of_nobody(
    fuzz: Any, service: Service, sentence: Any, app: str, data: st.DataObject
) -> None:
    content = data.draw(
        fuzz.garbled(json.dumps(WORD).encode())
        | fuzz.changed(WORD).map(lambda changed: json.dumps(changed).encode())
    )
    answer = await asked(service, app, FEEDBACK, content)
    # The stream is nobody's; and whoever says so much is told to wait.
    assert answer.status_code in (400, 404, 429), answer.text
    sentence(answer.json()["error"]["message"])


@APPS
@given(st.data())
async def test_no_other_key_opens_anything(
    fuzz: Any, service: Service, app: str, data: st.DataObject
) -> None:
    key = data.draw(fuzz.garbled(f"Bearer {service.key}".encode()))
    given_key = key.decode("latin-1").replace("\r", "").replace("\n", "").strip()
    if given_key.removeprefix("Bearer").strip() == service.key:
        return
    path = data.draw(st.sampled_from(sorted(BODIES)))
    transport = httpx.ASGITransport(service.apps[app], raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        header = {"authorization": given_key.encode("latin-1")}
        answer = await http.post(path, content=b"{}", headers=header)  # type: ignore[arg-type]
    assert answer.status_code == 401
