"""The other path: Serve's own ingress in front, no HAProxy, one setting away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from telemetry.report import request_key

if TYPE_CHECKING:
    from conftest import Client

READER = {"qoe_ttft_s": 1.0, "qoe_tds": 4.8}


def test_a_chat_streams_through_a_handle(handle: Client) -> None:
    answer = handle.chat(stream=True, max_tokens=100, vllm_xargs=READER)
    assert len(answer.text) == 100
    assert len(answer.chunks) > 10


def test_a_completion_is_answered_through_a_handle(handle: Client) -> None:
    answer = handle.complete(max_tokens=20, vllm_xargs=READER)
    assert answer.status == 200
    assert b'"completion_tokens":20' in answer.body.replace(b" ", b"")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"vllm_xargs": {"qoe_tds": 0}}, "qoe_tds=0 is invalid"),
        ({"vllm_xargs": {"qoe_tds": float("nan")}}, "qoe_tds=nan is invalid"),
        ({"vllm_xargs": {"qoe_profile": "skim"}}, "qoe_profile='skim' is invalid"),
        ({"qoe_tds": 4.8}, "vllm_xargs"),
    ],
)
def test_a_bad_field_through_a_handle_is_refused(
    handle: Client, fields: dict[str, Any], said: str, stream: bool
) -> None:
    before = handle.total("accepted_total")
    for ask in (handle.chat, handle.complete):
        answer = ask(stream=stream, max_tokens=5, **fields)
        assert answer.status == 400
        assert said in answer.error["message"]
    assert handle.total("accepted_total") == before


@pytest.mark.parametrize("path", ["chat", "complete"])
def test_an_engine_names_the_request_it_took_as_the_router_knows_it(
    handle: Client, path: str
) -> None:
    name = f"through-a-handle-{path}"
    getattr(handle, path)(stream=True, max_tokens=5, request_id=name)
    key = request_key(name)
    handle.until(lambda reports: any(key in r.accepted_keys for r in reports.values()))
