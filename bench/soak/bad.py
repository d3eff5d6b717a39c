"""Requests that must be refused with one clear sentence. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_FIELDS: Mapping[str, Any] = {
    "qoe_tds": -1,
    "qoe_ttft_s": "soon",
    "qoe_profile": "fastest",
    "qoe_weight": 1e9,
    "qoe_patience_s": 0,
    "qoe_sheddable": "perhaps",
    "qoe_age_s": -5,
    "qoe_slack_s": float("nan"),
    "qoe_resume_token_ids": [1 << 40],
    "qoe_nothing": 1,
}


def bad_requests(model: str) -> dict[str, bytes]:
    """Bodies of completions, by what is wrong with each."""
    base = {"model": model, "prompt": "Hello", "max_tokens": 5, "stream": True}
    fields = {name: base | {"vllm_xargs": {name: value}} for name, value in _FIELDS.items()}
    others: dict[str, Any] = {
        "a field at the top level": base | {"qoe_tds": 5},
        "max_tokens": base | {"max_tokens": -1},
        "temperature": base | {"temperature": float("inf")},
        "an unknown model": base | {"model": "no-such-model"},
        "no prompt": {"model": model},
        "a list": [1, 2, 3],
    }
    bodies = {name: json.dumps(body).encode() for name, body in (fields | others).items()}
    return bodies | {
        "no JSON": b'{"model": ',
        "nested 20,000 deep": b"[" * 20_000,
        "no text": b"\xff\x00\xfe" * 100,
    }
