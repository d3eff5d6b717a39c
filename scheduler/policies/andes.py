"""The Andes policy: who holds KV memory, who decodes, how much prompt. Pure.

A reader who has begun is a promise: it is served before its buffer is empty. New readers
are let in, the most valuable per block of memory first, as far as the engine's token rate
is not promised yet. Buffers are what pays for it: a running stream far ahead of its reader
gives way, first of all one whose reader is away, a step that would come too late is cut
short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler.policies.room import has_room
from scheduler.policies.seating import Seating
from scheduler.policies.step_levers import paused, token_budget
from scheduler.policies.value import Value
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import NOBODY, Ints, Plan, Snapshot

# A reader who has begun may stall this long before nobody else is let in ahead of it.
MAX_STALL_S = 2.0


@dataclass(frozen=True, slots=True)
class AndesPolicy:
    """Ours: keep promises, then start the readers that gain most."""

    settings: SchedulerSettings

    def plan(self, snapshot: Snapshot) -> Plan | None:
        """Who comes in, who gives way, who sits this step out, and how many tokens it has.

        None, and a step of plain vLLM, while everybody fits and no step comes too late.
        """
        pause = paused(snapshot, self.settings)
        budget = token_budget(snapshot, self.settings, pause)
        if has_room(snapshot):
            if budget is None and not pause.size:
                return None
            waiting: Ints = np.arange(snapshot.size - snapshot.num_running)
            running: Ints = np.arange(snapshot.num_running)
            keep = running[np.argsort(snapshot.is_prefilling[running], kind="stable")]
            return Plan(waiting, NOBODY, keep, pause, budget)
        value = Value(snapshot, self.settings)
        seating = self._seated(value)
        admit = _in_turn(value, seating)
        order = value.order
        stays = value.is_running & ~seating.is_preempted
        keep = order[stays[order]]
        # With a short budget, those who decode must come before those who prefill.
        keep = keep[np.argsort(snapshot.is_prefilling[keep], kind="stable")]
        return Plan(
            admit=admit - snapshot.num_running,
            preempt=np.flatnonzero(seating.is_preempted),
            keep=keep,
            pause=pause[~seating.is_preempted[pause]],
            token_budget=budget,
        )

    def _seated(self, value: Value) -> Seating:
        """Promises, then the stream kept too long, then the new, then whatever fits.

        Streams whose readers are away take what nobody else wants.
        """
        snapshot = value.snapshot
        asking = value.order[~value.is_running[value.order]]
        is_away = snapshot.is_away[asking]
        away, asking = asking[is_away], asking[~is_away]
        begun = asking[snapshot.started[asking]]
        begun = begun[np.argsort(snapshot.slack_s[begun], kind="stable")]
        seating = Seating(value)
        promised = begun[value.is_promised[begun]]
        if not seating.keep_promises(promised, MAX_STALL_S):
            return seating
        fresh = asking[value.is_fresh[asking]]
        paces = np.cumsum(snapshot.forecast.tds[fresh])
        affordable = fresh[paces <= value.spare_tokens_per_s]
        if snapshot.recent_late_share < self.settings.late_share:
            overdue = np.flatnonzero(value.is_overdue & ~snapshot.started)
            seating.admit(overdue[np.argsort(snapshot.slack_s[overdue])][:1])
        if snapshot.rebuild_budget_s < 0.0:
            # Streams given up come back before others do, and displace nobody for it.
            seating.admit(begun)
        seating.admit(affordable)
        seating.displace(affordable)
        seating.admit(begun)
        is_lost = value.is_urgent[asking] & (value.gain[asking] < self.settings.min_gain)
        seating.admit(asking[~is_lost])
        # Too late to win: what is left goes to the oldest, so that the longest wait ends.
        lost = asking[is_lost]
        seating.admit(lost[np.argsort(snapshot.slack_s[lost], kind="stable")])
        seating.admit(away)
        return seating


def _in_turn(value: Value, seating: Seating) -> Ints:
    """The admitted, in the order in which they may spend a short token budget.

    Promises first: a stream with little left to gain would hold memory and never run.
    """
    admitted = value.order[seating.is_admitted[value.order]]
    is_promised = value.is_promised[admitted]
    slack_s = np.where(is_promised, value.snapshot.slack_s[admitted], 0.0)
    in_turn: Ints = admitted[np.lexsort((slack_s, ~is_promised))]
    return in_turn
