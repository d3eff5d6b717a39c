"""What the endpoint under test is asked, and what it says about its models."""

import json

import pytest

from bench.client import run_load
from bench.endpoint import Endpoint, find_model, request_body
from bench.errors import UserError
from bench.load import Load, PlannedStream
from qoe import Expectation

READER = Expectation(1.0, 5.0)


def test_a_patience_is_sent_along_and_none_is_not() -> None:
    for patience_s in (None, 4.0):
        reader = Expectation(1.0, 5.0, patience_s=patience_s)
        planned = PlannedStream(0.0, 20, 5, reader)
        sent = json.loads(request_body(Endpoint("http://127.0.0.1", "tiny"), 0, planned))
        assert sent["vllm_xargs"].get("qoe_patience_s") == patience_s


def test_the_first_model_is_taken_with_the_limit_that_the_server_states(peer) -> None:
    peer.models = [{"id": "a", "max_model_len": 512}, {"id": "b", "max_model_len": 64}]
    first, second = find_model(peer.url, None), find_model(peer.url, "b")
    assert (first.name, first.max_context_tokens) == ("a", 512)
    assert (second.name, second.max_context_tokens) == ("b", 64)


def test_rays_own_ingress_states_the_limit_in_metadata(peer) -> None:
    peer.models = [{"id": "a", "metadata": {"max_request_context_length": 256}}]
    assert find_model(peer.url, None).max_context_tokens == 256


def test_a_named_model_needs_no_listing_and_then_has_no_limit(peer) -> None:
    assert find_model(peer.url, "gateway/x").name == "gateway/x"
    model = find_model(f"{peer.url}/nowhere", "x")
    assert (model.name, model.max_context_tokens) == ("x", None)


@pytest.mark.parametrize("key", [None, "of-the-test"])
def test_the_key_that_openais_clients_send_is_sent(peer, monkeypatch, key) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    find_model(peer.url, None)
    run_load(Load((PlannedStream(0.0, 20, 5, READER),)), Endpoint(peer.url, "tiny"))
    assert peer.authorizations == [key and f"Bearer {key}"] * 2


def test_without_a_name_or_a_listing_the_person_is_told_to_name_one(peer) -> None:
    peer.models = []
    with pytest.raises(UserError, match="name one with --model"):
        find_model(peer.url, None)


def test_an_endpoint_that_does_not_answer_is_named(closed_url) -> None:
    with pytest.raises(UserError, match="/v1/models: connection refused") as refused:
        find_model(closed_url, None)
    assert refused.value.exit_code == 1
