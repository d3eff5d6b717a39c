"""The middleware refuses bad QoE fields, and for everything else it is not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.deployments.middleware.conftest import (
    JSON_HEADERS,
    PROMPT,
    Client,
    ask,
    error_of,
    part,
    with_fields,
)

BAD_FIELDS = [
    ("qoe_tds", "fast", "0.01 to 1000 tokens/s"),
    ("qoe_tds", 0, "0.01 to 1000 tokens/s"),
    ("qoe_tds", -4.8, "0.01 to 1000 tokens/s"),
    ("qoe_tds", float("nan"), "0.01 to 1000 tokens/s"),
    ("qoe_tds", 10**400, "0.01 to 1000 tokens/s"),
    ("qoe_tds", True, "0.01 to 1000 tokens/s"),
    ("qoe_tds", None, "0.01 to 1000 tokens/s"),
    ("qoe_tds", {"a": 1}, "0.01 to 1000 tokens/s"),
    ("qoe_ttft_s", float("inf"), "0.01 to 600 seconds"),
    ("qoe_ttft_s", 1e9, "0.01 to 600 seconds"),
    ("qoe_profile", "skimming", "reading, listening, none"),
    ("qoe_profile", ["reading"], "reading, listening, none"),
    ("qoe_speed", 1, "qoe_profile, qoe_ttft_s, qoe_tds"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD_FIELDS)
async def test_a_bad_field_is_refused_with_its_value_and_the_range(
    name: str, value: Any, allowed: str
) -> None:
    client = await ask(with_fields({name: value}))
    error = error_of(client)
    assert error["param"] == name
    assert error["message"].startswith(f"{name}={value!r}"[:30])
    assert allowed in error["message"]
    assert not client.app.seen


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: text.replace("qoe_", "\\u0071oe_"), id="escaped"),
        pytest.param(lambda text: text.encode("utf-16"), id="utf-16"),
    ],
)
async def test_a_bad_field_does_not_hide_in_an_encoding(
    encode: Callable[[str], str | bytes],
) -> None:
    body = encode(with_fields({"qoe_tds": 0}).decode())
    client = await ask(body.encode() if isinstance(body, str) else body)
    assert error_of(client)["param"] == "qoe_tds"


async def test_a_field_outside_vllm_xargs_is_told_where_it_belongs() -> None:
    client = await ask(json.dumps(PROMPT | {"qoe_tds": 4.8}).encode())
    error = error_of(client)
    assert error["param"] == "qoe_tds"
    assert '"vllm_xargs": {"qoe_tds": ...}' in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(with_fields({"qoe_ttft_s": 1.0, "qoe_tds": 4}), id="good-fields"),
        pytest.param(with_fields({"other": None}), id="fields-of-somebody-else"),
        pytest.param(with_fields([1, 2]), id="xargs-that-vllm-refuses"),
        pytest.param(json.dumps(PROMPT).encode(), id="no-fields"),
        pytest.param(b'["qoe_tds"]', id="not-an-object"),
        pytest.param(b'{"vllm_xargs": {"qoe_tds": 0}', id="not-json"),
        pytest.param(b"\xff\xfe\xfd", id="not-text"),
        pytest.param(b"[" * 150 + b"]" * 150, id="deep"),
        pytest.param(json.dumps(PROMPT | {"suffix": "[{" * 5000}).encode(), id="brackets"),
        pytest.param(b'{"vllm_xargs": {"qoe_tds": ' + b"9" * 5000 + b"}}", id="too-long"),
        pytest.param(b"", id="empty"),
    ],
)
async def test_what_is_not_a_bad_field_reaches_the_app_as_it_came(body: bytes) -> None:
    client = await ask(body)
    assert client.app.body == body
    assert client.sent[0]["status"] == 200


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
async def test_what_nests_too_deep_to_be_read_is_the_clients_fault(bracket: bytes) -> None:
    client = await ask(bracket * 20_000)
    assert error_of(client)["param"] == "body"
    assert not client.app.seen


@pytest.mark.parametrize(
    "scope",
    [
        {"headers": [*JSON_HEADERS, (b"qoe-tds", b"4")]},
        {"headers": [*JSON_HEADERS, (b"X-QoE-TDS", b"4")]},
        {"query_string": b"a=1&qoe_tds=4"},
    ],
)
async def test_a_field_in_a_header_or_in_the_query_is_told_where_it_belongs(
    scope: dict[str, Any],
) -> None:
    client = await ask(json.dumps(PROMPT).encode(), **scope)
    error = error_of(client)
    assert error["param"] == "qoe_tds"
    assert '"vllm_xargs": {"qoe_tds": ...}' in error["message"]


@pytest.mark.parametrize(
    "scope",
    [
        pytest.param({"method": "GET"}, id="get"),
        pytest.param({"headers": [(b"content-type", b"text/plain")]}, id="text"),
        pytest.param({"headers": []}, id="no-content-type"),
        pytest.param({"type": "lifespan"}, id="lifespan"),
    ],
)
async def test_other_requests_are_not_read(scope: dict[str, Any]) -> None:
    client = await ask(with_fields({"qoe_tds": 0}), **scope)
    assert client.app.seen[0] == part(with_fields({"qoe_tds": 0}))


async def test_a_content_type_with_a_charset_is_json() -> None:
    headers = [(b"content-type", b"Application/JSON; charset=utf-8")]
    error_of(await ask(with_fields({"qoe_tds": 0}), headers=headers))


async def test_a_body_in_pieces_is_checked_whole_and_replayed_in_pieces() -> None:
    body = with_fields({"qoe_tds": 4.8})
    pieces = [part(body[:20], more=True), part(body[20:41], more=True), part(body[41:])]
    client = Client(*pieces)
    client.leaves.set()
    await client.request()
    assert client.app.seen == [*pieces, {"type": "http.disconnect"}]

    bad = with_fields({"qoe_tds": 0})
    client = Client(part(bad[:20], more=True), part(bad[20:]))
    await client.request()
    assert error_of(client)["param"] == "qoe_tds"


async def test_the_app_hears_when_its_client_leaves_and_answers_until_then() -> None:
    client = Client(part(with_fields({"qoe_tds": 4.8})))
    answering = asyncio.create_task(client.request())
    await asyncio.sleep(0.01)
    assert len(client.sent) == 2, "an answer waited for something"
    assert not answering.done()
    client.leaves.set()
    await asyncio.wait_for(answering, timeout=30.0)
    assert client.app.seen[-1] == {"type": "http.disconnect"}


async def test_a_client_that_leaves_in_its_own_request_is_not_waited_for() -> None:
    client = Client(part(b'{"vllm', more=True), {"type": "http.disconnect"})
    await asyncio.wait_for(client.request(), timeout=30.0)
    assert client.app.seen[-1] == {"type": "http.disconnect"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"temperature": NaN}',
        b'{"prompt": {"a": 1e999}}',
        b'{"model": "\\ud800"}',
    ],
    ids=["nan", "infinity", "half-a-pair"],
)
async def test_a_body_that_could_not_be_quoted_is_refused(body: bytes) -> None:
    client = await ask(body)
    assert error_of(client)["param"] == "body"
    assert "must be finite" in error_of(client)["message"]


@pytest.mark.parametrize("name", ["qoe_" + "x" * 5000, "qoe_\x1b[2J"])
@pytest.mark.parametrize("where", ["top", "fields", "query"])
async def test_a_name_is_quoted_in_one_short_line(name: str, where: str) -> None:
    scope, body = {}, json.dumps(PROMPT).encode()
    if where == "query":
        scope["query_string"] = urlencode({name: 1}).encode()
    elif where == "top":
        body = json.dumps(PROMPT | {name: "y" * 5000}).encode()
    else:
        body = with_fields({name: "y" * 5000})
    error = error_of(await ask(body, **scope))
    assert error["message"].isprintable()
    assert len(error["message"]) < 400
    assert len(error["param"]) <= 40


@pytest.mark.parametrize("messages", [0, None, "text", {"role": "user"}])
async def test_messages_that_are_no_list_are_refused(messages: object) -> None:
    client = await ask(json.dumps({"messages": messages}).encode())
    assert error_of(client)["param"] == "messages"
    assert not client.app.seen
