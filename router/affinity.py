"""Where a session was last, and which replica has computed the beginning of a prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence

import numpy as np

from qoe.forecast import Floats
from router.ledger import Replica
from router.request_fields import body_field

MAX_SESSIONS = 65_536
MAX_BLOCKS = 16_384
# A block is some 256 tokens; beyond eight of them the saving hardly grows in relation.
BLOCK_CHARS = 1024
BLOCK_TOKENS = 256
MAX_BLOCKS_PER_PROMPT = 8


class SessionHomes:
    """The replica that each session used last.

    Invariants:
        Bounded: the `max_sessions` used last.
    """

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        self._max_sessions = max_sessions
        self._homes: OrderedDict[str, Replica] = OrderedDict()

    def __len__(self) -> int:
        return len(self._homes)

    def home(self, session_id: str) -> Replica | None:
        """Where the session was last; None for a new or nameless one."""
        return self._homes.get(session_id)

    def moved(self, session_id: str, replica: Replica) -> None:
        """The session goes to `replica` now; one without a name is nowhere at home."""
        if not session_id:
            return
        self._homes[session_id] = replica
        self._homes.move_to_end(session_id)
        if len(self._homes) > self._max_sessions:
            self._homes.popitem(last=False)

    def retain(self, replicas: Collection[Replica]) -> None:
        """Forget every replica that is not one of `replicas`."""
        for session in [s for s, r in self._homes.items() if r not in replicas]:
            del self._homes[session]


class PrefixMap:
    """Which replicas were sent a prompt that begins like this one.

    A guess: an engine may have thrown the blocks away since. Whoever uses it takes off for
    that.

    Invariants:
        Bounded: the `max_blocks` used last.
    """

    def __init__(self, max_blocks: int = MAX_BLOCKS) -> None:
        self._max_blocks = max_blocks
        self._holders: OrderedDict[int, set[Replica]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._holders)

    def cached_blocks(self, keys: Sequence[int], replicas: Sequence[Replica]) -> Floats:
        """Leading blocks of a prompt that each replica was sent before, shape (n,)."""
        holding: set[Replica] = set()
        depths: dict[Replica, int] = {}
        for depth, key in enumerate(keys, 1):
            holders = self._holders.get(key)
            holding = (holders or set()) if depth == 1 else holding & (holders or set())
            if not holding:
                break
            depths.update(dict.fromkeys(holding, depth))
        if not depths:
            return np.zeros(len(replicas))
        return np.array([depths.get(r, 0) for r in replicas], dtype=np.float64)

    def sent(self, keys: Sequence[int], replica: Replica) -> None:
        """A prompt of these blocks goes to `replica`."""
        for key in keys:
            self._holders.setdefault(key, set()).add(replica)
            self._holders.move_to_end(key)
        while len(self._holders) > self._max_blocks:
            self._holders.popitem(last=False)

    def retain(self, replicas: Collection[Replica]) -> None:
        """Forget every replica that is not one of `replicas`."""
        for holders in self._holders.values():
            holders.intersection_update(replicas)


def prefix_keys(body: object) -> list[int]:
    """A number for each whole block that a prompt begins with, and all before it."""
    # A body is whatever a client sent, and a prefix is worth no failure.
    try:
        prompt = body_field(body, "prompt")
        if isinstance(prompt, str):
            return _chained(prompt, BLOCK_CHARS)
        if isinstance(prompt, (list, tuple)):
            ids = tuple(prompt[: MAX_BLOCKS_PER_PROMPT * BLOCK_TOKENS])
            return _chained(ids, BLOCK_TOKENS)
        return _chained(_chat_text(body_field(body, "messages")), BLOCK_CHARS)
    except Exception:
        return []


def _chained(prompt: Sequence[object], length: int) -> list[int]:
    """The keys of its whole blocks of this length."""
    keys = []
    key = 0
    for block in range(min(len(prompt) // length, MAX_BLOCKS_PER_PROMPT)):
        key = hash((key, prompt[block * length : (block + 1) * length]))
        keys.append(key)
    return keys


def _chat_text(messages: object) -> str:
    """The beginning of a chat, as far as it is plain text."""
    parts: list[str] = []
    missing = MAX_BLOCKS_PER_PROMPT * BLOCK_CHARS
    for message in messages if isinstance(messages, (list, tuple)) else ():
        content = body_field(message, "content")
        if missing <= 0 or not isinstance(content, str):
            break
        parts += (str(body_field(message, "role")), "\n", content[:missing])
        missing -= len(content)
    return "".join(parts)
