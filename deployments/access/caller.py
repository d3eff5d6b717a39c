"""Who sends a request, as the layers below the key know it."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.datastructures import Headers

from qoe import Caps
from qoe.tenant import NOBODY, SHARE_FIELD, TENANT_FIELD

SCOPE_KEY = "andes.caller"
# What tells those apart who share an engine.
ShareBy = Literal["key", "user", "session", "address"]
# Whoever has one address of IPv6 has all that begin like it.
IPV6_PREFIX_BITS = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request.

    Attributes:
        name: Of the API key; None where none is asked for.
        caps: The most that it may ask for.
        profile: Of its readers, where a request says nothing; None for the deployment's.
        share: Of an engine that others want too, beside a key with 1.
    """

    name: str | None
    caps: Caps
    profile: str | None = None
    share: float = 1.0


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Who sends the request of an ASGI `scope`.

    Raises:
        KeyError: No `AccessMiddleware` stands before this app.
    """
    caller: Caller = scope[SCOPE_KEY]
    return caller


def path_of(scope: Mapping[str, Any]) -> str:
    """The path below the application's own prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def tenant_fields(
    scope: Mapping[str, Any], request: Mapping[str, object], share_by: ShareBy
) -> dict[str, object]:
    """The fields that tell an engine whose a request is; none for nobody in particular.

    A key is one tenant, or each of its users, sessions or addresses is one with the share
    of the key. Those that name none are one tenant together.

    Args:
        scope: Of the request, with its caller.
        request: Its body.
        share_by: What tells tenants apart.
    """
    caller, said = caller_of(scope), _said(scope, request, share_by)
    name = "/".join(part for part in (caller.name, said and _short(said)) if part)
    if not name:
        return {}
    share = {} if caller.share == NOBODY.share else {SHARE_FIELD: caller.share}
    return {TENANT_FIELD: name, **share}


def _short(said: str) -> str:
    """As long as a name may be; and nobody's name or address goes further than here."""
    told = said.encode(errors="surrogatepass")
    return hashlib.blake2b(told, digest_size=16).hexdigest()


def _said(scope: Mapping[str, Any], request: Mapping[str, object], by: ShareBy) -> str:
    if by == "user":
        user = request.get("user")
        return user if isinstance(user, str) else ""
    if by == "session":
        # Serve's own name and reading of the header; plain vLLM may have no Ray.
        from ray.serve._private.http_util import (  # noqa: PLC0415
            session_id_from_headers,
        )

        return session_id_from_headers(Headers(raw=scope["headers"])) or ""
    return _network(scope["client"][0]) if by == "address" and scope["client"] else ""


def _network(host: str) -> str:
    """What one client has of the addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX_BITS), strict=False))
