"""What is bad, and what may be said of it: the same for all that is read from outside."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.deployments.conftest import llm, replica_engine  # noqa: F401 - fixtures

# One sentence with a name, a value and a range has room in it.
MAX_SENTENCE_CHARS = 1000
# Nothing that is generated has it in it by chance.
SECRET = "s3cret-Zq8"

# Numbers at the edges of what readers of JSON, YAML and msgpack can hold.
INTEGERS = [0, -1, 1, 2**31, -(2**31), 2**63, -(2**63) - 1, 10**400]
FLOATS = [0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")]
EDGES = st.sampled_from([*INTEGERS, *FLOATS, True, False, None])
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "\ud800", "\x00", "\n", "\u2028", "é" * 300, "9" * 5000, "[" * 300, "{{", "%s{}"]
)
SCALARS = EDGES | TEXTS | st.integers() | st.floats()
VALUES: st.SearchStrategy[Any] = EDGES | st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
BYTES = st.binary(max_size=64) | st.sampled_from(
    [b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 2_000, b'{"a":' * 1500, b"\r\n\r"]
)


@st.composite
def changed(draw: st.DrawFn, valid: Any) -> Any:
    """`valid` JSON with something else in one or two places."""
    result = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 2))):
        result = _changed_once(draw, result)
    return result


def _changed_once(draw: st.DrawFn, valid: Any) -> Any:
    below = len(valid) if isinstance(valid, (dict, list)) else 0
    what = draw(st.sampled_from(["below"] * 5 * (below > 0) + ["more", "less", "other"]))
    if isinstance(valid, dict) and what == "more":
        return valid | {draw(TEXTS): draw(VALUES)}
    if what not in ("below", "less") or not below:
        return draw(VALUES)
    keys = sorted(valid) if isinstance(valid, dict) else range(below)
    at = draw(st.sampled_from(keys))
    result = valid.copy()
    if what == "below":
        result[at] = _changed_once(draw, valid[at])
    else:
        del result[at]
    return result


@st.composite
def garbled(draw: st.DrawFn, valid: bytes) -> bytes:
    """`valid` bytes with a piece cut out and another one put in, or none of them."""
    if draw(st.integers(0, 5)) == 0:
        return draw(BYTES)
    begin = draw(st.integers(0, len(valid)))
    end = draw(st.integers(begin, min(len(valid), begin + 16)))
    return valid[:begin] + draw(BYTES) + valid[end:]


class Fuzz:
    """Strategies for whoever is to be confused."""

    texts, values, bytes = TEXTS, VALUES, BYTES
    changed = staticmethod(changed)
    garbled = staticmethod(garbled)


@pytest.fixture(scope="session")
def fuzz() -> type[Fuzz]:
    return Fuzz


@pytest.fixture(scope="session")
def secret() -> str:
    """What nobody may read anywhere."""
    return SECRET


@pytest.fixture(scope="session")
def sentence() -> Callable[[object], str]:
    """Checks that what is said is one line of a length that somebody reads."""

    def checked(said: object) -> str:
        text = str(said)
        assert 0 < len(text) <= MAX_SENTENCE_CHARS, text[:200]
        assert text.isprintable(), text
        return text

    return checked


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        # With the traceback, which quotes what an error was given.
        self.lines.append(self.format(record))


@pytest.fixture(scope="module", autouse=True)
def _nothing_secret_is_logged() -> Iterator[None]:
    """Neither a prompt nor a key stands in a log, whichever logger writes it."""
    kept = _Kept()
    loggers = [logging.getLogger(), *map(logging.getLogger, ("vllm", "ray", "uvicorn"))]
    for logger in loggers:
        logger.addHandler(kept)
    yield
    for logger in loggers:
        logger.removeHandler(kept)
    assert [line for line in kept.lines if SECRET in line] == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/fuzz/" in str(item.path):
            item.add_marker(pytest.mark.fuzz)
            item.add_marker(pytest.mark.timeout(3600))
