"""What replicas carry against what they can: the numbers that scaling goes by."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qoe import PROFILES
from qoe.forecast import Floats
from router.demand import DEFAULT_OUTPUT_TOKENS, DEFAULT_PROMPT_TOKENS
from telemetry.report import SLACK_EDGES_S, EngineReport

# With less than this a reader is about to notice.
SHORT_SLACK_S = 1.0
_SHORT_BINS = SLACK_EDGES_S.index(SHORT_SLACK_S) + 1
# The learned times of an engine that made fewer tokens than this are first guesses.
LEARNED_TOKENS = 200
# What an engine is taken for before any engine has told how fast it is.
DEFAULT_STEP_S = 0.02
# What a reader is taken for before any has begun.
DEFAULT_PACE_TOKENS_PER_S = PROFILES["reading"].expectation.tds
# No engine counts as far as this: beyond it is garbage, and sums stay finite.
_MAX_NUMBER = 1e15


class ReplicaLoad(NamedTuple):
    """One replica at one moment; plain numbers, as Serve's autoscaling stats carry them.

    Attributes:
        accepting: 0 while it drains: its streams are its own, and nobody else's.
        streams: Live streams.
        below: Those whose QoE so far is below target.
        short: Those with less than `SHORT_SLACK_S` before their reader notices.
        capacity_tokens: What its KV memory holds.
        demand_tokens: Context of all live streams.
        backlog_tokens: Prompt tokens to be computed for streams without an answer.
        base_s: Seconds of a step; 0 while they are not known,
        per_stream_s: more for each stream in it,
        prefill_s: and for each prompt token.
        promised_streams: Live streams that have begun or hold KV memory.
        promised_tokens_per_s: What their readers read, together.
        output_tokens: Mean length of finished streams; 0 before the first.
        accepted_total: Streams that it ever took.
    """

    accepting: float
    streams: float
    below: float
    short: float
    capacity_tokens: float
    demand_tokens: float
    backlog_tokens: float
    base_s: float
    per_stream_s: float
    prefill_s: float
    promised_streams: float
    promised_tokens_per_s: float
    output_tokens: float
    accepted_total: float

    @property
    def is_sound(self) -> bool:
        """Whether an engine can have said so; NaN fails every comparison."""
        return self.capacity_tokens > 0.0 and all(0.0 <= x <= _MAX_NUMBER for x in self)


def load_of(report: EngineReport) -> ReplicaLoad:
    """What scaling needs of `report`."""
    is_learned = report.step_base_s > 0.0 and report.tokens_total >= LEARNED_TOKENS
    base_s, per_stream_s, prefill_s = (
        report.step_base_s,
        report.step_per_stream_s,
        report.prefill_s_per_token,
    )
    below = report.streams_below_target
    slack = report.slack_histogram
    return ReplicaLoad(
        accepting=float(report.accepting),
        streams=report.running + report.waiting,
        below=below,
        # Serve's routing stats leave the slack out; streams below target had none.
        short=sum(slack[:_SHORT_BINS]) if slack else below,
        capacity_tokens=report.kv_blocks_total * report.block_size_tokens,
        demand_tokens=report.demand_tokens,
        backlog_tokens=report.prefill_backlog_tokens,
        base_s=base_s if is_learned else 0.0,
        per_stream_s=per_stream_s if is_learned else 0.0,
        prefill_s=prefill_s if is_learned else 0.0,
        promised_streams=report.running + report.preempted,
        promised_tokens_per_s=report.promised_tokens_per_s,
        output_tokens=report.mean_output_tokens,
        accepted_total=report.accepted_total,
    )


class ReplicaLoads(NamedTuple):
    """`ReplicaLoad` of n replicas, arrays of shape (n,)."""

    accepting: Floats
    streams: Floats
    below: Floats
    short: Floats
    capacity_tokens: Floats
    demand_tokens: Floats
    backlog_tokens: Floats
    base_s: Floats
    per_stream_s: Floats
    prefill_s: Floats
    promised_streams: Floats
    promised_tokens_per_s: Floats
    output_tokens: Floats
    accepted_total: Floats


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """The replicas that take streams and report sound numbers.

    Attributes:
        names: Theirs.
        columns: What they say, arrays of shape (n,).
    """

    names: tuple[Hashable, ...]
    columns: ReplicaLoads

    @classmethod
    def of(cls, loads: Mapping[Hashable, ReplicaLoad]) -> FleetLoad:
        """The fleet of `loads`; what is unsound in them is left out."""
        taken = {n: x for n, x in loads.items() if x.is_sound and x.accepting}
        table = np.array([*taken.values()], dtype=np.float64)
        columns = ReplicaLoads(*table.reshape(-1, len(ReplicaLoad._fields)).T)
        return cls(tuple(taken), _with_guesses(columns))

    @property
    def size(self) -> int:
        return len(self.names)

    @property
    def accepted(self) -> dict[Hashable, float]:
        """Streams that each replica ever took."""
        return dict(zip(self.names, self.columns.accepted_total.tolist(), strict=True))

    @property
    def streams(self) -> float:
        """Live streams of all."""
        return float(self.columns.streams.sum())

    @property
    def backlog_s(self) -> float:
        """Mean seconds of prefill that wait on a replica."""
        return float((self.columns.backlog_tokens * self.columns.prefill_s).mean())

    @property
    def output_tokens(self) -> float:
        """Mean length of an answer."""
        known = self.columns.output_tokens[self.columns.output_tokens > 0.0]
        return float(known.mean()) if known.size else DEFAULT_OUTPUT_TOKENS

    @property
    def pace_tokens_per_s(self) -> float:
        """What a reader reads, in the mean of those who have begun."""
        promised = float(self.columns.promised_tokens_per_s.sum())
        streams = float(self.columns.promised_streams.sum())
        return promised / streams if promised and streams else DEFAULT_PACE_TOKENS_PER_S

    @property
    def context_tokens(self) -> float:
        """Mean context of a live stream, at least 1."""
        if not self.streams:
            return DEFAULT_PROMPT_TOKENS + self.output_tokens / 2.0
        return max(float(self.columns.demand_tokens.sum()) / self.streams, 1.0)

    @property
    def full_tokens_per_s(self) -> Floats:
        """Tokens/s of each replica that decodes with its memory full, shape (n,)."""
        batch = np.maximum(self.columns.capacity_tokens / self.context_tokens, 1.0)
        rate: Floats = batch / (self.columns.base_s + self.columns.per_stream_s * batch)
        return rate


class Pressure(NamedTuple):
    """What is asked of replicas over what they can do, 1 being all.

    Attributes:
        memory: KV tokens of live streams, over capacity.
        readers: Tokens/s that live streams are read at, over tokens/s.
        work: Time that arriving streams take, prompts and full batches, of all time.
    """

    memory: Floats
    readers: Floats
    work: Floats


def pressure(fleet: FleetLoad, offered_per_s: float, spread: Floats) -> Pressure:
    """The pressure if a mean replica had `spread` times its part of the load.

    Every term grows with `spread` and with the load. Beyond what can be done at all it is
    infinite.

    Args:
        fleet: At least one replica.
        offered_per_s: Streams that arrive per second, over all replicas.
        spread: Present replicas over those that would carry the load, above 0.
    """
    means = ReplicaLoads(*(np.mean(c, keepdims=True) for c in fleet.columns))
    arrivals = offered_per_s / fleet.size * spread
    tokens_per_s = arrivals * fleet.output_tokens
    prefill = arrivals * fleet.context_tokens * means.prefill_s
    # Steps take what prompts and the streams in them leave; fewer steps, larger batches.
    steps_share = np.maximum(1.0 - prefill - tokens_per_s * means.per_stream_s, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        batch = np.where(tokens_per_s > 0.0, tokens_per_s * means.base_s / steps_share, 0.0)
        full = float(fleet.full_tokens_per_s.mean())
        carried = full * np.maximum(1.0 - prefill, 0.0)
        streams = np.maximum(means.streams * spread, batch)
        memory = streams * fleet.context_tokens / means.capacity_tokens
        asked = streams * fleet.pace_tokens_per_s
        readers = np.where(streams > 0.0, asked / carried, 0.0)
    return Pressure(memory, readers, work=prefill + tokens_per_s / full)


def _with_guesses(loads: ReplicaLoads) -> ReplicaLoads:
    """The mean of the engines that know their times stands in for one that does not."""
    known = loads.base_s > 0.0
    if not known.any():
        return loads._replace(base_s=np.full_like(loads.base_s, DEFAULT_STEP_S))
    return loads._replace(
        base_s=np.where(known, loads.base_s, loads.base_s[known].mean()),
        per_stream_s=np.where(known, loads.per_stream_s, loads.per_stream_s[known].mean()),
        prefill_s=np.where(known, loads.prefill_s, loads.prefill_s[known].mean()),
    )
