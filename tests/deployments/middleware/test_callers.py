"""Nobody gets more than its key allows, and whoever asks for nothing gets the key's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployments.access.caller import SCOPE_KEY, Caller
from qoe import Caps
from tests.deployments.middleware.conftest import (
    JSON_HEADERS,
    PROMPT,
    ask,
    error_of,
    with_fields,
)

CAPPED = Caller("a", Caps(max_weight=1.0, max_tds=20.0, min_ttft_s=0.5, where="its"))
ABOVE = [
    ("qoe_weight", 1.01, "from 0.01 to 1 readers", "its.max_weight"),
    ("qoe_tds", 1000, "from 0.01 to 20 tokens/s", "its.max_tds"),
    ("qoe_ttft_s", 0.01, "from 0.5 to 600 seconds", "its.min_ttft_s"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("name", "value", "allowed", "by"), ABOVE)
async def test_more_than_the_callers_caps_is_refused_and_said_who_may_raise_them(
    name: str, value: float, allowed: str, by: str, stream: bool
) -> None:
    body = json.loads(with_fields({name: value})) | {"stream": stream}
    client = await ask(json.dumps(body).encode(), **{SCOPE_KEY: CAPPED})
    error = error_of(client)
    assert error["param"] == name
    assert error["message"].startswith(f"{name}={value} is invalid: it must be {allowed}")
    assert by in error["message"]
    assert not client.app.seen


@pytest.mark.parametrize(("name", "value", "allowed", "by"), ABOVE)
async def test_the_caps_hold_for_parameters_that_go_to_the_engine_as_they_are(
    name: str, value: float, allowed: str, by: str
) -> None:
    body = {"token_ids": [1], "sampling_params": {"extra_args": {name: value}}}
    error = error_of(await ask(json.dumps(body).encode(), **{SCOPE_KEY: CAPPED}))
    assert error["param"] == name


async def test_a_profile_beyond_the_caps_is_refused_by_its_own_name() -> None:
    caller = Caller("slow", Caps(max_tds=4.0))
    body = with_fields({"qoe_profile": "reading"})
    error = error_of(await ask(body, **{SCOPE_KEY: caller}))
    assert error["param"] == "qoe_profile"
    assert error["message"].startswith("qoe_profile='reading'")


@pytest.mark.parametrize("extra", [{}, {"vllm_xargs": None}, {"vllm_xargs": {"mine": 1}}])
async def test_who_leaves_it_open_gets_the_callers_profile_and_no_more_than_its_caps(
    extra: dict[str, Any],
) -> None:
    caller = Caller("voice", Caps(max_weight=0.5), profile="listening")
    body = json.dumps(PROMPT | {"stream": True} | extra).encode()
    headers = [*JSON_HEADERS, (b"content-length", str(len(body)).encode())]
    client = await ask(body, **{SCOPE_KEY: caller, "headers": headers})
    asked = json.loads(client.app.body)
    kept = (extra.get("vllm_xargs") or {}) | {}
    added = {"qoe_profile": "listening", "qoe_weight": 0.5, "qoe_tenant": "voice"}
    assert asked.pop("vllm_xargs") == kept | added
    assert asked == PROMPT | {"stream": True}


async def test_an_answer_in_one_piece_claims_nothing_that_it_does_not_say() -> None:
    caller = Caller("voice", Caps(max_weight=0.5), profile="listening")
    body = json.dumps(PROMPT).encode()
    client = await ask(body, **{SCOPE_KEY: caller})
    assert json.loads(client.app.body)["vllm_xargs"] == {"qoe_tenant": "voice"}
    # Unless it says something: then it counts as much as a stream.
    client = await ask(with_fields({"qoe_tds": 3}), **{SCOPE_KEY: caller})
    assert json.loads(client.app.body)["vllm_xargs"]["qoe_weight"] == 0.5


@pytest.mark.parametrize("fields", [[1], "text", 7, True])
async def test_fields_that_are_no_mapping_are_left_to_the_app(fields: Any) -> None:
    client = await ask(with_fields(fields), **{SCOPE_KEY: CAPPED})
    assert client.app.body == with_fields(fields)


@pytest.mark.parametrize("extra", [{}, {"extra_args": None}, {"extra_args": {"mine": 1}}])
async def test_vllms_endpoint_for_tokens_is_no_way_around_a_keys_share_and_caps(
    extra: dict[str, Any],
) -> None:
    caller = Caller("gold", Caps(max_weight=0.5), share=3.0)
    request = {"token_ids": [1], "stream": True, "sampling_params": {"n": 1} | extra}
    client = await ask(json.dumps(request).encode(), **{SCOPE_KEY: caller})
    params = json.loads(client.app.body)["sampling_params"]
    own = {"qoe_tenant": "gold", "qoe_share": 3.0, "qoe_weight": 0.5}
    assert params == {"n": 1, "extra_args": (extra.get("extra_args") or {}) | own}
