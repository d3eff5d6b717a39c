"""The Andes policy: who holds KV memory, and who computes prompts next. Pure.

One rule for streams that wait: those that can still be in time come before those that are
late, and among equals whoever gives most QoE for the engine time that an answer costs. Who
fits is let in. For a stream whose reader is about to notice, running streams leave that are
far enough ahead of their readers to pay for the resume.

Every constant stands beside its evidence; `andes evidence` makes the numbers again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from scheduler.policies.fairness import beyond_share
from scheduler.policies.packing import pack
from scheduler.policies.prefill_limit import token_budget
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Bools, Floats, Ints, Plan, Snapshot

# QoE is forecast for about as long as an answer is read.
HORIZON_S = 60.0
# A stream displaces others once its reader would notice within this time.
URGENCY_S = 1.5
# A first token that is not expected within this time is nobody's concern yet: a job with a
# minute to spare comes behind readers who are late, whatever it weighs.
NEW_URGENCY_S = 10.0
# However cheap a resume is, nobody leaves for less: swaps take time on the link to the
# host, and readers stall for it.
MIN_LEAVE_S = 15.0
# One plan swaps in at most this many streams; the next may go on. It bounds the planner's
# time and what a wrong forecast can do.
MAX_SWAPS = 8


@dataclass(frozen=True, slots=True)
class AndesPolicy:
    """Ours. `settings.max_throughput_loss` says what preemptions may cost."""

    settings: SchedulerSettings
    horizon_s: ClassVar[float] = HORIZON_S

    def plan(self, snapshot: Snapshot) -> Plan | None:
        """Who comes in, who gives way, and how many tokens the step has.

        None, and a step of plain vLLM, while everybody fits and no step comes too late.
        """
        budget = self._token_budget(snapshot)
        if budget is None and not _is_short(snapshot):
            return None
        ranking = self._ranking(snapshot)
        admission = Admission(snapshot)
        admission.admit(ranking.by_worth)
        admission.swap(ranking.urgent, ranking.victims)
        running = np.arange(snapshot.num_running)
        keep = running[~admission.is_preempted[running]]
        # vLLM evicts from the end. With a short budget, who decodes goes first.
        order = np.lexsort((snapshot.slack_s[keep], snapshot.is_prefilling[keep]))
        return Plan(
            admit=np.array(admission.admitted, dtype=np.int64) - snapshot.num_running,
            preempt=np.flatnonzero(admission.is_preempted),
            keep=keep[order],
            token_budget=budget,
        )

    def _token_budget(self, snapshot: Snapshot) -> int | None:
        return token_budget(snapshot)

    def _ranking(self, snapshot: Snapshot) -> Ranking:
        return Ranking(snapshot, self.settings.max_throughput_loss)


def _is_short(snapshot: Snapshot) -> bool:
    """Whether memory, or the tokens of a step, do not reach for all who ask."""
    asked = snapshot.num_running + float(snapshot.prefill_tokens.sum())
    return not snapshot.has_room or asked > snapshot.token_budget


class Ranking:
    """Who should be served first, and who can do without for a while.

    Attributes:
        starts_in_s: Seconds from now until the reader would notice, less what it takes to
            bring a token; negative for who is late whatever is done, shape (n,).
    """

    def __init__(self, snapshot: Snapshot, max_throughput_loss: float) -> None:
        self._snapshot = snapshot
        self._max_throughput_loss = max_throughput_loss
        self._waiting: Ints = np.arange(snapshot.num_running, snapshot.size)
        self._tokens_per_s = 1.0 / snapshot.step_time.step_s(max(snapshot.num_running, 1))
        self.starts_in_s: Floats = snapshot.slack_s - snapshot.start_delay_s

    @cached_property
    def is_late(self) -> Bools:
        """Who misses the first token whatever is done, shape (n,)."""
        is_late: Bools = ~self._snapshot.started & (self.starts_in_s < 0.0)
        return is_late

    @cached_property
    def answer_s(self) -> Floats:
        """Engine time that an answer of mean length costs, shape (n,).

        Its tokens, each with its part of the step's base by memory and its own part of
        the step, and its prompt.
        """
        snapshot, step = self._snapshot, self._snapshot.step_time
        held = snapshot.blocks / max(snapshot.total_blocks, 1)
        token_s = step.base_s * np.maximum(held, 1.0 / snapshot.max_running)
        token_s += step.per_stream_s
        prompt_s = snapshot.prefill_tokens * step.prefill_s_per_token
        answer_s: Floats = snapshot.mean_output_tokens * token_s + prompt_s
        return answer_s

    @cached_property
    def worth(self) -> Floats:
        """QoE at the end of the horizon, if served, for a second of engine time: (n,)."""
        snapshot = self._snapshot
        served = snapshot.forecast.served(snapshot.start_delay_s, self._tokens_per_s)
        worth: Floats = snapshot.weight * served / self.answer_s
        return worth

    @cached_property
    def by_worth(self) -> Ints:
        """Those who wait, by worth: who can be in time, then who is late.

        Then come those whom nothing hurts for now: who has text left to read or expects no
        token soon, and last who is away. Whoever wants more than the share of its
        tenant waits behind all others who want something.
        """
        snapshot, waiting = self._snapshot, self._waiting
        needs_within_s = np.where(snapshot.started, URGENCY_S, NEW_URGENCY_S)
        has_time = self.starts_in_s > needs_within_s
        groups = [snapshot.is_away, has_time, self.is_late]
        group = np.select(groups, [3, 2, 1], default=0)
        order: Ints = waiting[np.lexsort((-self.worth[waiting], group[waiting]))]
        if snapshot.shares is None:
            return order
        fair: Ints = order[np.lexsort((self._beyond_share(order), group[order]))]
        return fair

    @property
    def urgent(self) -> Ints:
        """Those who may displace others, the worthiest first.

        Whoever wants more than the share of its tenant asks last.
        """
        snapshot, waiting = self._snapshot, self._waiting
        asks = (self.starts_in_s <= URGENCY_S) & ~snapshot.is_away
        asking = waiting[asks[waiting]]
        order: Ints = asking[np.argsort(-self.worth[asking], kind="stable")]
        if snapshot.shares is None:
            return order
        fair: Ints = order[np.argsort(self._beyond_share(order), kind="stable")]
        return fair

    def _beyond_share(self, order: Ints) -> Floats:
        snapshot = self._snapshot
        assert snapshot.shares is not None
        begun = np.flatnonzero(snapshot.is_running | snapshot.started)
        return beyond_share(snapshot.shares, begun, order, self.answer_s)

    @property
    def victims(self) -> Ints:
        """Running streams that may leave, the fullest buffer first.

        The resume of the whole memory takes κ seconds. A stream that ran for κ / x of them
        lost at most the part x of its engine time to its resume; by then it is
        (κ / x) · (speed / pace − 1) ahead of its reader, however large it is.
        """
        snapshot = self._snapshot
        running = np.arange(snapshot.num_running)
        blocks = np.maximum(snapshot.blocks[running], 1)
        resume_s = snapshot.resume_s[running] / blocks * snapshot.total_blocks
        lead = np.maximum(self._tokens_per_s / snapshot.forecast.tds[running] - 1.0, 0.0)
        least_s = resume_s * lead / self._max_throughput_loss
        may_leave = snapshot.can_free[running] & ~snapshot.is_prefilling[running]
        may_leave &= snapshot.slack_s[running] >= np.maximum(least_s, MIN_LEAVE_S)
        leaving = running[may_leave]
        order: Ints = leaving[np.argsort(-snapshot.slack_s[leaving], kind="stable")]
        return order


class Admission:
    """Blocks and slots of `max_running`, as they are given away.

    Attributes:
        admitted: Waiting streams let in, in order.
        is_preempted: Running streams given up, shape (num_running,).
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        num_running = snapshot.num_running
        self.admitted: list[int] = []
        self.is_preempted: Bools = np.zeros(num_running, dtype=np.bool_)
        # Running streams keep room to grow.
        growth = (snapshot.blocks - snapshot.blocks_held)[:num_running]
        self._blocks = snapshot.free_blocks - int(growth.sum())
        self._slots = snapshot.max_running - num_running

    def admit(self, asking: Ints) -> None:
        """Let in what fits, in order; a misfit is skipped."""
        if self._blocks <= 0 or self._slots <= 0:
            return
        taken = pack(asking, self._snapshot.blocks, self._blocks, self._slots)
        self._take(asking[taken[asking]])

    def swap(self, asking: Ints, victims: Ints) -> None:
        """Let in, in order, and give up the first of `victims` for it."""
        is_in = np.isin(asking, self.admitted)
        freed = np.cumsum(self._snapshot.blocks[victims])
        gone = 0
        for stream in asking[~is_in][:MAX_SWAPS].tolist():
            if gone >= victims.size:
                return
            before = int(freed[gone - 1]) if gone else 0
            missing = int(self._snapshot.blocks[stream]) - self._blocks
            count = int(np.searchsorted(freed, before + missing)) + 1 if missing > 0 else 0
            count = max(count, gone + 1 - min(self._slots, 1))
            if count > victims.size:
                continue
            leaving = victims[gone:count]
            gone = max(gone, count)
            self.is_preempted[leaving] = True
            self._blocks += int(self._snapshot.blocks[leaving].sum())
            self._slots += leaving.size
            self._take(np.array([stream]))

    def _take(self, streams: Ints) -> None:
        self.admitted += streams.tolist()
        self._blocks -= int(self._snapshot.blocks[streams].sum())
        self._slots -= streams.size
