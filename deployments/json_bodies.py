"""Bodies that parsers take, or give up on, though nobody can do anything with them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec

from qoe.expectation import shown

# A conversation nests six deep, a schema for an answer some dozens.
MAX_DEPTH = 200

# A text that does not end goes on to the end: looking for its end again and again would
# take the square of its length.
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")
# What Python reads beyond JSON, or beyond 64 bits, must be written in one of these, or in
# UTF-16 or 32.
_BEYOND_JSON = re.compile(
    rb"NaN|Infinity|\d[eE]\+?\d\d|\d{19}|\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|\0"
)

# What vLLM goes through before it looks what it is. Null is left to it where it may be.
_SHAPES: tuple[tuple[str, type, str, bool], ...] = (
    ("messages", list, "a list of messages", False),
    ("tools", list, "a list of tools, or null", True),
    ("structured_outputs", dict, "an object, or null", True),
)


def misshapen(request: Mapping[str, object]) -> tuple[str, str] | None:
    """The field with which vLLM's own validators would fail, HTTP 500, and why it may not.

    None where there is none: everything else is vLLM's to refuse.
    """
    for name, shape, expected, may_be_null in _SHAPES:
        value = request.get(name)
        if isinstance(value, shape) or name not in request:
            continue
        if value is not None or not may_be_null:
            return name, f"{name}={shown(value)} is invalid: it must be {expected}."
    return None


def nests_too_deep(body: bytes) -> bool:
    """Whether arrays and objects of a JSON text lie more than `MAX_DEPTH` in each other.

    Of another text it may say either. Costs little for a body with few brackets.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    if b"\0" in body:
        # UTF-16 or UTF-32, whose bytes look like other characters.
        body = body.decode(json.detect_encoding(body), "replace").encode()
    depth = 0
    for bracket in _BRACKET.findall(_TEXT.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def can_be_written(body: bytes, parsed: object) -> bool:
    """Whether what was read from `body` can be quoted, and sent to an engine.

    Python reads NaN, infinities and halves of surrogate pairs, and does not write them as
    JSON. vLLM sends parameters to its engine as MessagePack, whose integers have 64 bits.
    Either would be HTTP 500, the second with a request left behind.
    """
    if not _BEYOND_JSON.search(body):
        return True
    try:
        json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()
        msgspec.msgpack.encode(parsed)
    except (ValueError, OverflowError):
        return False
    return True
