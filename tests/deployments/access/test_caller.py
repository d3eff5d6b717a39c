"""Whose a request is: told by what the operator named, and not by what a client claims."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE
from ray.serve._private.proxy_request_response import ASGIProxyRequest

from deployments.access.caller import SCOPE_KEY, Caller, ShareBy, tenant_fields
from qoe import Caps
from qoe.tenant import parse_tenant

ANYBODY, GOLD = Caller(None, Caps()), Caller("gold", Caps(), share=3.0)
SESSION = (b"x-session-id", b"a chat")


def tenant(
    share_by: ShareBy,
    caller: Caller = ANYBODY,
    *,
    host: str | None = "10.0.0.7",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    **request: Any,
) -> str:
    client = None if host is None else (host, 40_000)
    scope = {SCOPE_KEY: caller, "client": client, "headers": list(headers)}
    fields = tenant_fields(scope, request, share_by)
    parsed = parse_tenant(fields)
    assert parsed.share == (caller.share if fields else 1.0)
    return parsed.name


def test_without_keys_those_who_share_by_key_are_nobody_in_particular() -> None:
    assert tenant("key", user="a", headers=(SESSION,)) == ""
    assert tenant("key", GOLD, user="a") == "gold"


@pytest.mark.parametrize(
    ("share_by", "one", "other"),
    [
        ("user", {"user": "a"}, {"user": "b"}),
        ("session", {"headers": (SESSION,)}, {"headers": ((SESSION[0], b"another"),)}),
        ("address", {"host": "10.0.0.7"}, {"host": "10.0.0.8"}),
        ("address", {"host": "2001:db8::1"}, {"host": "2001:db8:0:1::1"}),
        ("address", {"host": "::ffff:10.0.0.7"}, {"host": "::ffff:10.0.0.8"}),
    ],
)
@pytest.mark.parametrize("caller", [ANYBODY, GOLD])
def test_what_the_operator_names_tells_tenants_of_a_key_apart(
    share_by: ShareBy, caller: Caller, one: dict[str, Any], other: dict[str, Any]
) -> None:
    names = tenant(share_by, caller, **one), tenant(share_by, caller, **other)
    assert len({*names, "", "gold"}) == 4
    assert tenant(share_by, caller, **one) == names[0]
    # The user of one key is nobody to another one.
    assert tenant(share_by, Caller("other", Caps()), **one) not in names


@pytest.mark.parametrize("user", [None, "", 7, ["a"], {"a": 1}])
def test_who_names_no_user_is_a_tenant_with_all_others_who_name_none(user: Any) -> None:
    assert tenant("user", user=user) == ""
    assert tenant("user", GOLD, user=user) == "gold"
    assert tenant("session", GOLD) == tenant("address", GOLD, host=None) == "gold"


def test_an_address_is_that_of_the_connection_and_not_what_a_header_claims() -> None:
    claims = ((b"x-forwarded-for", b"6.6.6.6"), (b"forwarded", b"for=6.6.6.6"))
    assert tenant("address", headers=claims) == tenant("address")


def test_serves_own_proxy_tells_replicas_the_address_and_haproxy_does_not() -> None:
    scope = {"type": "http", "client": ("10.0.0.7", 40_000), "headers": []}
    asked = ASGIProxyRequest(scope, None, None)  # type: ignore[arg-type]
    sent = pickle.loads(asked.serialized_replica_arg("proxy"))
    assert sent.asgi_scope["client"] == ("10.0.0.7", 40_000)
    assert "forwardfor" not in HAPROXY_CONFIG_TEMPLATE


def test_one_client_has_one_address_of_ipv6_however_many_it_owns() -> None:
    assert tenant("address", host="2001:db8::1") == tenant("address", host="2001:db8::f:2")


@pytest.mark.parametrize("said", ["x" * 10_000, "\ud800", "a/b", "\x00"], ids=len)
def test_whatever_a_client_calls_itself_is_a_name_that_an_engine_takes(said: str) -> None:
    name = tenant("user", GOLD, user=said)
    assert name.startswith("gold/")
    assert said not in name
    assert tenant(
        "session", headers=((b"X_Session_Id", said[:9].encode("utf-8", "replace")),)
    )
