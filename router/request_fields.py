"""What a request says about its reader, read by the router off whatever form it came in.

Bad values are refused by the replica's server, with a message. Here they count as not said.
"""

from __future__ import annotations

from collections.abc import Mapping

from qoe.fields import RESUME_FIELD

XARGS_FIELD = "vllm_xargs"
# A plain dict is known at once; what else is a mapping takes a microsecond to find out.
_MAPPINGS = (dict, Mapping)


def body_field(body: object, name: str) -> object:
    """The field of a mapping or an object with attributes; None where there is none."""
    # Not getattr: on a pydantic request that warns of each field that is deprecated.
    fields = body if isinstance(body, _MAPPINGS) else getattr(body, "__dict__", {})
    return fields.get(name)


def reader_fields(body: object) -> Mapping[str, object]:
    """The request's `vllm_xargs`; empty if there are none to be read."""
    # A body is whatever a client sent.
    try:
        xargs = body_field(body, XARGS_FIELD)
    except Exception:
        return {}
    if not isinstance(xargs, _MAPPINGS):
        return {}
    return xargs if all(isinstance(key, str) for key in xargs) else {}


def received_tokens(body: object) -> int:
    """Tokens of the answer that the reader has from another replica."""
    received = reader_fields(body).get(RESUME_FIELD)
    return len(received) if isinstance(received, (list, tuple)) else 0
