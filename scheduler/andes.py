"""The Andes scheduler as a vLLM plugin. Only this and its two base classes know vLLM.

All of vLLM's privates that Andes relies on are used there and here, and pinned by
`tests/scheduler/test_vllm_contract.py`. Its loop is never copied: Andes decides before
`super().schedule()`, and reads what came of it after.
"""

from __future__ import annotations

import time
from dataclasses import replace
from operator import attrgetter
from typing import Any

# First: it says which versions of vLLM have what is imported below.
from scheduler import versions  # noqa: F401

# isort: split
import numpy as np
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.request_queue import FCFSRequestQueue
from vllm.v1.request import Request, RequestStatus

from scheduler.live_streams import Slots
from scheduler.options import refusal_of, takes_short_steps
from scheduler.outlook import HORIZON_S, EngineState, take_snapshot
from scheduler.partition import Partition, partition
from scheduler.policies import policy_for
from scheduler.refusing import RefusingScheduler
from scheduler.replan import PlanClock
from scheduler.snapshot import Floats, Ints, Plan
from scheduler.tenants import Prices

# Streams in these states only wait for memory; the others of `skipped_waiting` wait for a
# grammar, a transfer or a client, and are vLLM's business.
_WAITS_FOR_MEMORY = (RequestStatus.WAITING, RequestStatus.PREEMPTED)

# Plans are this far apart unless streams come or go: readers do not notice less.
REPLAN_PERIOD_S = 0.05

_request_id = attrgetter("request_id")
_num_computed_tokens = attrgetter("num_computed_tokens")


class AndesScheduler(RefusingScheduler):
    """vLLM's scheduler with Andes deciding who holds KV memory, and whose prompt is next.

    Under light load, and whenever Andes fails, a step is exactly a vLLM step. Settings come
    from the environment (`scheduler.settings`); `policy: fcfs` measures and never decides.

    Raises:
        ValueError: When made with options that it cannot serve; it names them.
    """

    waiting: FCFSRequestQueue
    max_num_scheduled_tokens: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if why := refusal_of(self.vllm_config, self.settings):
            raise ValueError(why)
        self._policy = policy_for(self.settings)
        # The last this many of `waiting` were withheld by the last plan.
        self._num_withheld = 0
        self._token_budget: int | None = None
        self._stands_still = self._is_vllms_turn = False
        self._takes_short_steps = takes_short_steps(self)
        self._plan_clock = PlanClock(REPLAN_PERIOD_S)

    @property
    def planned_at_s(self) -> float:
        """Time of the last plan."""
        return self._plan_clock.planned_at_s

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        with self._guarded("hearing readers"):
            self.feedback.deliver(self.streams, self.now_s())
        with self._guarded("refusing fields"):
            self._end_unfit()
        withheld = self._plan()
        budget = self.max_num_scheduled_tokens
        self.max_num_scheduled_tokens = min(budget, self._token_budget or budget)
        try:
            output = super().schedule(throttle_prefills)
        finally:
            self.max_num_scheduled_tokens = budget
            self._num_withheld = len(withheld)
            if withheld:
                self.waiting.extend(withheld)
        self._stands_still = bool(withheld) and self._served_nobody(output)
        return output

    def _served_nobody(self, output: SchedulerOutput) -> bool:
        """Whether this step did, and the next one is vLLM's to plan.

        Where all were evicted they take turns: the plan lets in too few where others hold
        memory for their return, and vLLM too many for any of them to grow.
        """
        if output.num_scheduled_tokens or self.running:
            return False
        if output.preempted_req_ids:
            self._is_vllms_turn = not self._is_vllms_turn
            return self._is_vllms_turn
        return True

    def _plan(self) -> list[Request]:
        """Those whom this step must not see; nobody where planning fails.

        After a step in which it served nobody and withheld somebody vLLM chooses: whom the
        plan offered may not fit beside what those hold whom it did not.
        """
        is_paused = self._pause_state != PauseState.UNPAUSED or self._stands_still
        if self._policy is not None and not is_paused:
            with self.activity, self._guarded("planning"):
                return self._withhold()
        self._token_budget = None
        return []

    def _withhold(self) -> list[Request]:
        """Leave in `waiting` and `running` only what the plan lets into this step.

        Raises whatever planning raises, with every request back in its queue.
        """
        now_s = self.now_s()
        num_skipped, idle = len(self.skipped_waiting), not self.running
        if not self._plan_clock.is_due(now_s, self.streams, num_skipped, idle=idle):
            return self._withhold_same()
        self._token_budget = None
        self._take_back_skipped()
        engine, step_time = self._engine_state(now_s), self.step_time.fitted()
        kv_tokens = engine.total_blocks * engine.block_size_tokens
        self.streams.tenants.prices = Prices(step_time, kv_tokens, engine.max_running)
        snapshot = take_snapshot(
            engine,
            self.streams,
            step_time,
            self.settings,
            horizon_s=getattr(self._policy, "horizon_s", HORIZON_S),
        )
        plan = self._policy.plan(snapshot) if self._policy is not None else None
        if not self._plan_clock.is_in_time(now_s, self.now_s()):
            self.activity.overruns_total += 1
            return []
        return [] if plan is None else self._apply(self._sparing(plan))

    def _sparing(self, plan: Plan) -> Plan:
        """The plan, but that nobody who came back leaves again before it got a token.

        Whatever a policy does, a stream then has a token for each time it was resumed.
        """
        leaving = self.streams.slots(
            self.running[i].request_id for i in plan.preempt.tolist()
        )
        is_spared = self.streams.is_fruitless[leaving]
        if not is_spared.any():
            return plan
        keep = np.concatenate((plan.keep, plan.preempt[is_spared]))
        return replace(plan, keep=keep, preempt=plan.preempt[~is_spared])

    def _take_back_skipped(self) -> None:
        """vLLM serves `skipped_waiting` first; what waits for memory only must compete."""
        free = [r for r in self.skipped_waiting if r.status in _WAITS_FOR_MEMORY]
        if free:
            self.skipped_waiting.remove_requests(free)
            self.waiting.extendleft(reversed(free))

    def _engine_state(self, now_s: float) -> EngineState:
        pool = self.kv_cache_manager.block_pool
        running = self.streams.slots(map(_request_id, self.running))
        return EngineState(
            now_s=now_s,
            running=running,
            waiting=self.streams.slots(map(_request_id, self.waiting)),
            can_free=self._can_free(),
            uncomputed_tokens=self._unfinished_prompts(running),
            # Block 0 is vLLM's null block.
            total_blocks=pool.num_gpu_blocks - 1,
            free_blocks=pool.get_num_free_blocks(),
            block_size_tokens=self.block_size,
            max_running=self.max_num_running_reqs,
            token_budget=self.max_num_scheduled_tokens,
            tokens_per_s=self.step_time.tokens_per_s,
            computed_share=self.resumes.computed_share,
            held_blocks=self._held_while_waiting(),
        )

    def _held_while_waiting(self) -> Ints | None:
        """Blocks of each waiting stream whose KV a connector has brought back."""
        if self.connector is None:
            return None
        waiting = list(self.waiting)
        computed = np.fromiter(map(_num_computed_tokens, waiting), np.int64, len(waiting))
        held: Ints = np.zeros(len(waiting), dtype=np.int64)
        # Few: those whose transfer has ended since the last plan.
        for at in np.flatnonzero(computed).tolist():
            blocks = self.kv_cache_manager.get_blocks(waiting[at].request_id)
            held[at] = len(blocks.blocks[0])
        return held

    def _can_free(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which running streams give their blocks back at once when preempted.

        With a KV connector and async scheduling, vLLM 0.29 keeps the blocks of a stream
        that is still in flight (vLLM issue 49674).
        """
        if not self.defer_block_free:
            return np.ones(len(self.running), dtype=np.bool_)
        done = self.processed_step_seq
        return np.array([r.last_sched_seq <= done for r in self.running], dtype=np.bool_)

    def _unfinished_prompts(self, running: Slots) -> Floats:
        """Of each running stream's prompt, what has no KV yet."""
        uncomputed: Floats = np.zeros(running.size)
        for i in np.flatnonzero(self.streams.is_prefilling[running]).tolist():
            request = self.running[i]
            uncomputed[i] = request.num_tokens - request.num_computed_tokens
        return uncomputed

    def _withhold_same(self) -> list[Request]:
        waiting = list(self.waiting)
        num_offered = max(0, len(waiting) - self._num_withheld)
        self.waiting = FCFSRequestQueue(waiting[:num_offered])
        return waiting[num_offered:]

    def _apply(self, plan: Plan) -> list[Request]:
        """Preempt, order `running`, leave the offered in `waiting`; return the rest."""
        parts = partition(plan, self.running, list(self.waiting))
        if not parts.leaves_work:
            # An engine with nothing to do must not keep anyone back.
            return []
        self._preempt(parts)
        budget = self._budget_of(parts)
        self.activity.applied(parts, budget)
        self._token_budget = budget
        # Last: what fails above leaves every request in its queue.
        self.waiting = FCFSRequestQueue(parts.offered)
        return parts.victims + parts.withheld

    def _preempt(self, parts: Partition[Request]) -> None:
        """Give the victims up one by one: whoever cannot be given up runs on."""
        self.running = parts.kept + parts.victims[::-1]
        for victim in parts.victims:
            self.running.pop()
            try:
                self._preempt_request(
                    victim, time.monotonic(), drop_stale_output=self.requires_kv_delivery
                )
            except Exception:
                if victim.status == RequestStatus.RUNNING:
                    self.running.append(victim)
                raise

    def _budget_of(self, parts: Partition[Request]) -> int | None:
        """Tokens of the step; a plan does not know of the drafts of who decodes."""
        if parts.token_budget is None or not self._takes_short_steps:
            return None
        drafts_tokens: int = self.num_spec_tokens * len(parts.kept)
        return parts.token_budget + drafts_tokens
