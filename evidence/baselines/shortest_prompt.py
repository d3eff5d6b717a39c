"""Shortest prompt first: the least work first among those who wait, nobody preempted.

The classic order for the least mean TTFT, as it was proposed for vLLM (pull request 29366),
vllm-ascend (10755) and SGLang (30806). Those age long prompts by some weight of their wait,
each by another; here is none, so that a long prompt waits for as long as shorter ones come.
As they do, a stream that the engine evicted comes back before anybody new.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evidence.baselines.room import Room
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import NOBODY, Plan, Snapshot


@dataclass(frozen=True, slots=True)
class ShortestPromptPolicy:
    """Offer waiting streams by prompt length; evictions are left to vLLM.

    It plans when not all fit, in memory or in the token budget of one step: else everybody
    starts in this step, in whatever order.
    """

    settings: SchedulerSettings

    def plan(self, snapshot: Snapshot) -> Plan | None:
        running = snapshot.num_running
        if snapshot.has_room and _takes_one_step(snapshot):
            return None
        waiting = np.arange(running, snapshot.size)
        is_new = snapshot.preemptions[waiting] == 0
        tokens = np.where(is_new, snapshot.context_tokens[waiting], 0.0)
        order = waiting[np.lexsort((-snapshot.since_s[waiting], tokens, is_new))]
        room = Room.of(snapshot, snapshot.max_running)
        admitted = order[room.num_leaving(order, NOBODY) == 0]
        return Plan(admit=admitted - running, preempt=NOBODY, keep=np.arange(running))


def _takes_one_step(snapshot: Snapshot) -> bool:
    tokens = float(snapshot.prefill_tokens.sum()) + snapshot.num_running
    return tokens <= snapshot.token_budget
