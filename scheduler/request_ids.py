"""Which request of Ray Serve one of the engine's requests belongs to.

vLLM's OpenAI server wraps the id it is given (the `x-request-id` header, which Serve LLM
sets to Serve's own id on the handle path, and HAProxy sets for both sides on the direct
one): `chatcmpl-ID` or `cmpl-ID-PROMPT`; its engine appends eight random characters, and
puts `INDEX_` in front of each of several answers to one request.
"""

from __future__ import annotations

import re

from telemetry.report import request_key

_RANDOM = "-[0-9a-f]{8}"
_CHAT = re.compile(rf"(?:\d+_)?chatcmpl-(?P<id>.+){_RANDOM}", re.DOTALL)
_COMPLETION = re.compile(rf"(?:\d+_)?cmpl-(?P<id>.+)-\d+{_RANDOM}", re.DOTALL)


def serve_request_id(engine_request_id: str) -> str:
    """Serve's id of the request; one that no OpenAI server wrapped is returned as it is."""
    for wrapped in (_CHAT, _COMPLETION):
        if match := wrapped.fullmatch(engine_request_id):
            return match["id"]
    return engine_request_id


def is_completion(engine_request_id: str) -> bool:
    """Whether it is a completion of text, which no parser takes apart."""
    return _COMPLETION.fullmatch(engine_request_id) is not None


def serve_key(engine_request_id: str) -> int:
    """The key by which a router knows the request."""
    return request_key(serve_request_id(engine_request_id))
