"""What a start needs from the process environment, and how to set a variable."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Literal

from deployments.config_errors import ConfigError

DIRECT_STREAMING_ENV = "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING"
# Ray reads these at import, in the controller and the proxies too.
STREAMING_ENV: Mapping[str, str] = MappingProxyType(
    {
        DIRECT_STREAMING_ENV: "1",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY": "1",
    }
)
# The longest that a stream may last, from its request to its last token.
LONGEST_STREAM_S = 3600
# Wished for, and no condition of a start; read in the same places.
SERVING_ENV: Mapping[str, str] = MappingProxyType(
    {
        # A stream's status waits for its first token. A replica that died without one, or
        # that answers 502 as its engine is dead, has served nobody: HAProxy asks others,
        # three times at most. 503 is for those refused, by the router or by an engine that
        # is full or that their patience is too short for, and final.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response 502",
        # What may be asked again is kept until it is answered, in a copy of the whole
        # buffer whatever is in it: of Serve's 8 MiB that is 8 MiB for every waiting stream.
        "RAY_SERVE_HAPROXY_INGRESS_REQUEST_ROUTER_BUFSIZE": str(1 << 20),
        # Whenever a replica comes or goes, a new HAProxy process takes over, and the old
        # one goes on with the streams it has. It cuts those that are left after this; of
        # Serve's 120 s it was every stream older than that, on healthy replicas, too.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(LONGEST_STREAM_S),
        # On the handle path: until the first token, or to the end of an answer that is not
        # streamed; then it is cut with 408.
        "RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT": str(LONGEST_STREAM_S),
        # A replica that is to go has minutes for its streams. One that has failed its
        # health checks has none left to end, and holds the GPU of the one to replace it.
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    }
)


def require_streaming_environment(
    streaming: Literal["direct", "handle"], environ: Mapping[str, str] = os.environ
) -> None:
    """Refuse a start whose environment contradicts `streaming`.

    Raises:
        ConfigError: It does; the message says what to set, and where.
    """
    if streaming == "direct":
        missing = [
            name for name, value in STREAMING_ENV.items() if environ.get(name) != value
        ]
        if missing:
            raise ConfigError(
                f"args.streaming='direct' needs {_assignments(missing)} in the environment "
                "of both `ray start` and `serve run`. Stop Ray, "
                f"`export {_assignments(STREAMING_ENV)}`, and start both again; "
                "or set streaming: handle."
            )
    elif environ.get(DIRECT_STREAMING_ENV) == "1":
        raise ConfigError(
            f"args.streaming='handle' cannot work with {DIRECT_STREAMING_ENV}=1. Stop Ray, "
            f"`unset {DIRECT_STREAMING_ENV}`, and start `ray start` and `serve run` again "
            "without it; or set streaming: direct."
        )


def require_client_addresses(environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a start that tells clients apart by an address that nobody would be told.

    Raises:
        ConfigError: HAProxy stands before the proxies of Serve.
    """
    if environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1":
        raise ConfigError(
            "args.share_by='address' cannot work with RAY_SERVE_ENABLE_HA_PROXY=1: HAProxy "
            "tells no replica the address of a client. Stop Ray, "
            "`unset RAY_SERVE_ENABLE_HA_PROXY`, and start `ray start` and `serve run` "
            "again without it."
        )


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable of this process for the length of a `with` block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _assignments(names: Mapping[str, str] | list[str]) -> str:
    return " ".join(f"{name}={STREAMING_ENV[name]}" for name in names)
