"""The live streams of one engine: their readers, and what they hold of it. No vLLM here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from qoe import FRESH, Expectation, Feedback, Progress, StreamTable
from qoe.feedback import PAUSE_HOLDS_S
from qoe.tenant import NOBODY, Tenant
from scheduler.reader_figures import ReaderFigures
from scheduler.tenants import Tenants
from telemetry.report import MAX_KEYS

Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

NEVER_S = np.inf
SILENCE = Feedback()


class LiveStreams:
    """Readers (`readers`, `figures`) and residency of every stream from add to remove.

    Deliveries are collected during a step and applied by one vectorised `flush`.

    Invariants:
        * A request id has a slot from `add` to `remove`; both are idempotent.
        * `resident_since_s` is `NEVER_S` while a stream holds no KV memory.
        * Totals only grow.
        * `accepted_keys` holds the newest keys, oldest first.
        * Tokens that nobody reads (`hidden_tokens`) need memory, and are no delivery.
    """

    _COLUMNS = (
        "prompt_tokens",
        "cached_tokens",
        "hidden_tokens",
        "resident_since_s",
        "idle_since_s",
        "preemptions",
        "produces",
        "weight",
        "tenant",
    )

    prompt_tokens: Floats
    cached_tokens: Floats
    hidden_tokens: Floats
    resident_since_s: Floats
    idle_since_s: Floats
    preemptions: Floats
    produces: Floats
    weight: Floats
    tenant: Floats

    def __init__(self) -> None:
        self.readers = StreamTable()
        self.figures = ReaderFigures(self.readers)
        self.tenants = Tenants()
        self._slot_of: dict[str, int] = {}
        self._pending: dict[int, int] = {}
        self._pending_hidden: dict[int, int] = {}
        for name in self._COLUMNS:
            setattr(self, name, np.zeros(self.readers.capacity))
        self.accepted_total = 0
        self.finished_total = 0
        self.refused_total = 0
        self.preemptions_total = 0
        self.tokens_total = 0
        self.accepted_keys: deque[int] = deque(maxlen=MAX_KEYS)
        self._finished_tokens = self._written_total = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._slot_of

    def add(
        self,
        request_id: str,
        expectation: Expectation,
        arrived_at_s: float,
        prompt_tokens: int,
        key: int | None = None,
        progress: Progress = FRESH,
        cached_tokens: int = 0,
        tenant: Tenant = NOBODY,
    ) -> None:
        """Begin to follow a stream.

        Args:
            request_id: What the engine calls it.
            expectation: Of its reader.
            arrived_at_s: When it came to this engine.
            prompt_tokens: Of its prompt, those of `progress` included.
            key: What routers call it.
            progress: What its reader had before.
            cached_tokens: Of its prompt, in the prefix cache as it came.
            tenant: Who shares the engine with others by it.
        """
        if request_id in self._slot_of:
            return
        slot = self.readers.add(
            expectation,
            arrived_at_s - progress.age_s,
            progress.tokens,
            progress.read_until_s(expectation, arrived_at_s),
        )
        self.figures.added(slot, expectation)
        self._fit_columns()
        self.prompt_tokens[slot] = prompt_tokens - progress.tokens
        self.cached_tokens[slot] = cached_tokens
        self.hidden_tokens[slot] = 0
        self.resident_since_s[slot] = NEVER_S
        self.idle_since_s[slot] = arrived_at_s
        self.preemptions[slot] = 0
        self.produces[slot] = 0
        self.weight[slot] = expectation.weight
        self.tenant[slot] = self.tenants.join(tenant)
        self._slot_of[request_id] = slot
        self.accepted_total += 1
        if key is not None:
            self.accepted_keys.append(key)

    def delivered(self, request_id: str, tokens: int, hidden: int = 0) -> None:
        """Note tokens of this step; they count from the next `flush`.

        Args:
            request_id: What the engine calls the stream.
            tokens: How many it got.
            hidden: How many of them nobody reads.
        """
        slot = self._slot_of[request_id]
        if hidden:
            self._pending_hidden[slot] = self._pending_hidden.get(slot, 0) + hidden
        if tokens > hidden or not hidden:
            self._pending[slot] = self._pending.get(slot, 0) + tokens - hidden

    def on_feedback(self, told: Sequence[tuple[str, Feedback]], now_s: float) -> None:
        """Believe the readers' clients; of what one says twice, the last word counts.

        Args:
            told: Engine's name of a stream, if it is live, and what its client says.
            now_s: Time on the clock of `readers`, not before the last flush.
        """
        self.hold(now_s)
        rows: dict[int, Feedback] = {}
        for name, said in told:
            if (slot := self._slot_of.get(name)) is not None:
                rows[slot] = said.after(rows.get(slot, SILENCE))
        if not rows:
            return
        slots = np.fromiter(rows, dtype=np.intp, count=len(rows))
        away_until_s = now_s + PAUSE_HOLDS_S
        buffers, paces, pauses = np.array(
            [
                (
                    np.nan if said.buffer_tokens is None else said.buffer_tokens,
                    np.nan if said.tds is None else said.tds,
                    np.nan if said.paused is None else said.paused * away_until_s,
                )
                for said in rows.values()
            ]
        ).T
        self.readers.on_feedback(slots, buffers, paces, pauses, now_s)

    def hold(self, now_s: float) -> None:
        """Let the time of readers who are away stand still until `now_s`."""
        if self.readers.num_away:
            slots, passed_s = self.readers.hold(now_s)
            self.figures.held(slots, passed_s)

    def flush(self, now_s: float) -> None:
        """Apply the deliveries noted since the last flush, all at `now_s`."""
        self.hold(now_s)
        if self._pending_hidden:
            self._hide(self._pending_hidden)
            self._pending_hidden.clear()
        if self._pending:
            self._deliver(self._pending, now_s)
            self._pending.clear()

    def _hide(self, hidden: dict[int, int]) -> None:
        slots, tokens = _columns(hidden)
        self.tokens_total += int(tokens.sum())
        self.produces[slots] = 1
        self.hidden_tokens[slots] += tokens

    def _deliver(self, delivered: dict[int, int], now_s: float) -> None:
        slots, tokens = _columns(delivered)
        self.tokens_total += int(tokens.sum())
        self.produces[slots] = 1
        self.figures.delivering(slots, now_s)
        self.readers.deliver(slots, tokens, now_s)

    def admitted(self, request_ids: Iterable[str], now_s: float) -> None:
        """These streams got KV memory."""
        slots = self.slots(request_ids)
        self.resident_since_s[slots] = now_s
        self.produces[slots] = 0

    def preempted(self, request_id: str, now_s: float) -> None:
        """This stream lost its KV memory."""
        slot = self._slot_of[request_id]
        self.resident_since_s[slot] = NEVER_S
        self.idle_since_s[slot] = now_s
        self.preemptions[slot] += 1
        self.preemptions_total += 1

    def remove(self, request_id: str, now_s: float, *, has_left: bool = False) -> None:
        """This stream ended; `has_left`: its reader did not want the rest."""
        slot = self._slot_of.pop(request_id, None)
        if slot is None:
            return
        self.hold(now_s)
        if slot in self._pending_hidden:
            self._hide({slot: self._pending_hidden.pop(slot)})
        if slot in self._pending:
            self._deliver({slot: self._pending.pop(slot)}, now_s)
        self.figures.finished(slot, now_s, has_left=has_left)
        written = self.readers.delivered_tokens[slot] + self.hidden_tokens[slot]
        self._finished_tokens += int(written)
        self._written_total += int(written > 0)
        self.finished_total += 1
        self.tenants.leave(
            int(self.tenant[slot]),
            float(self.prompt_tokens[slot] - self.cached_tokens[slot]),
            float(written),
        )
        self.readers.remove(slot)

    def slots(self, request_ids: Iterable[str]) -> Slots:
        """Slots of these streams, in order; raises KeyError for one that is not live."""
        return np.fromiter(map(self._slot_of.__getitem__, request_ids), dtype=np.intp)

    def all_slots(self) -> Slots:
        return np.fromiter(self._slot_of.values(), dtype=np.intp, count=len(self._slot_of))

    def context_tokens(self, slots: Slots) -> Floats:
        """Tokens whose KV these streams need: the prompt and what was generated."""
        context: Floats = self.prompt_tokens[slots] + self.hidden_tokens[slots]
        return context + self.readers.delivered_tokens[slots]

    @property
    def promised_tokens_per_s(self) -> float:
        """Paces of the readers who have a token already, or whose stream holds memory.

        Those away read nothing.
        """
        slots = self.all_slots()
        readers = self.readers
        is_begun = readers.delivered_tokens[slots] > 0
        is_begun |= self.resident_since_s[slots] < NEVER_S
        if readers.num_away:
            is_begun &= ~readers.is_away(slots)
        return float(readers.tds[slots][is_begun].sum())

    @property
    def mean_output_tokens(self) -> float:
        """Mean length of the finished streams that had begun; 0 before the first."""
        return self._finished_tokens / self._written_total if self._written_total else 0.0

    @property
    def is_prefilling(self) -> Bools:
        """By slot: no token since the stream got its KV memory."""
        prefilling: Bools = self.produces == 0
        return prefilling

    @property
    def is_fruitless(self) -> Bools:
        """By slot: no token since the stream got its KV memory again."""
        fruitless: Bools = self.is_prefilling & (self.preemptions > 0)
        return fruitless

    def since_s(self, slots: Slots, is_running: Bools) -> Floats:
        """When each running stream got its memory, and each waiting one had none."""
        since: Floats = np.where(
            is_running, self.resident_since_s[slots], self.idle_since_s[slots]
        )
        return since

    def _fit_columns(self) -> None:
        missing = self.readers.capacity - self.prompt_tokens.size
        if missing:
            for name in self._COLUMNS:
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros(missing)]))


def _columns(tokens_of: dict[int, int]) -> tuple[Slots, Floats]:
    slots = np.fromiter(tokens_of.keys(), dtype=np.intp, count=len(tokens_of))
    return slots, np.fromiter(tokens_of.values(), dtype=np.float64, count=slots.size)
