"""JSON that nests too deep to be read: parsers give up at a depth that nobody can name."""

from __future__ import annotations

import re

# A conversation nests six deep, a schema for an answer some dozens.
MAX_DEPTH = 200

# A text that does not end goes on to the end: looking for its end again and again would
# take the square of its length.
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")


def nests_too_deep(body: bytes) -> bool:
    """Whether arrays and objects of a JSON text lie more than `MAX_DEPTH` in each other.

    Of another text it may say either. Costs little for a body with few brackets.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_TEXT.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False
