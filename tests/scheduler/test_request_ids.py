"""The way of Serve's request id through vLLM's real code, and back out of the engine."""

import inspect
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion
from vllm.entrypoints.serve.engine.serving import BaseServing
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.input_processor import InputProcessor
from vllm.v1.engine.parallel_sampling import ParentRequest

from scheduler.request_ids import serve_request_id

ids = st.text(min_size=1) | st.uuids().map(str) | st.uuids().map(lambda u: u.hex[:8])


def wrapped(name: str, serve_id: str) -> str:
    """As the OpenAI server names the request that came with this header."""
    http = SimpleNamespace(headers={"X-Request-Id": serve_id})
    return name.format(BaseServing._base_request_id(http, "the body's own"))


def in_engine(name: str) -> SimpleNamespace:
    """As the engine's front end then names it."""
    request = SimpleNamespace(
        request_id=name, external_req_id=None, params=SamplingParams(n=3)
    )
    InputProcessor.assign_request_id(request)
    return request


@pytest.mark.parametrize("name", ["chatcmpl-{}", "cmpl-{}-0", "cmpl-{}-12"])
@given(serve_id=ids)
def test_serves_id_comes_back_out_of_what_vllm_makes_of_it(name, serve_id) -> None:
    request = in_engine(wrapped(name, serve_id))
    assert request.request_id != request.external_req_id
    assert serve_request_id(request.request_id) == serve_id


@pytest.mark.parametrize("name", ["chatcmpl-{}", "cmpl-{}-0"])
def test_each_of_several_answers_belongs_to_the_same_request(name) -> None:
    parent = ParentRequest(in_engine(wrapped(name, "a-request")))
    children = [parent.get_child_info(index)[0] for index in range(3)]
    assert len(set(children)) == 3
    assert [serve_request_id(child) for child in children] == ["a-request"] * 3


@given(st.text())
def test_an_id_that_no_server_wrapped_is_its_own(request_id) -> None:
    if "cmpl-" not in request_id:
        assert serve_request_id(request_id) == request_id


def test_vllm_names_requests_as_we_read_them() -> None:
    """The names are written inside long methods: this says when they change."""
    chat = inspect.getsource(OpenAIServingChat)
    assert 'f"chatcmpl-{self._base_request_id(raw_request, request.request_id)}"' in chat
    completion = inspect.getsource(OpenAIServingCompletion)
    assert 'f"cmpl-{self._base_request_id(raw_request, request.request_id)}"' in completion
    assert 'f"{request_id}-{i}"' in completion
