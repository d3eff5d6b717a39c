"""Andes as its paper has it (arXiv 2404.16283v2, section 4), the baseline of our policy.

A knapsack over all live streams, solved anew whenever memory or speed is short: greedily by
QoE gain per token of context, for several batch sizes, with the refiner behind it. Where
the paper is silent, the reason for what is done stands at the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evidence.baselines.exact import solve
from evidence.baselines.objective import Objective, gain
from evidence.baselines.refiner import Refiner
from evidence.baselines.room import Room
from scheduler.settings import SchedulerSettings
from scheduler.snapshot import Bools, Floats, Ints, Plan, Snapshot

# With less KV memory in use, and steps fast enough, there is nothing to solve.
TRIGGER_OCCUPANCY = 0.9
# Batch sizes tried between the paper's bounds, evenly spaced.
MAX_BATCH_SIZES = 8


@dataclass(frozen=True, slots=True)
class _Solution:
    """A knapsack at one batch size.

    Attributes:
        batch_size: B, the most streams that run.
        gain: By stream, at the speed of this batch size.
        order: All streams, best first.
        chosen: Who should run.
    """

    batch_size: int
    gain: Floats
    order: Ints
    chosen: Bools

    @property
    def value(self) -> float:
        return float(self.gain[self.chosen].sum())


@dataclass(frozen=True, slots=True)
class PaperPolicy:
    """Selective trigger, batch-size search, greedy packing, overhead-aware refiner.

    With the refiner, a batch larger than the best size B shrinks as its streams end, not by
    preemption: the refiner only knows preemptions that an admission pays for.

    Attributes:
        objective: What QoE gain adds up to.
        horizon_s: How far QoE is forecast. The paper leaves Δt to the operator.
        refines: Whether preemptions are paid for (v2).
        is_exact: Whether the knapsacks are solved to the optimum.
        preemption_cap: Preemptions per request, on average over all that ever came (v1);
            None is no cap.
    """

    settings: SchedulerSettings
    horizon_s: ClassVar[float] = 5.0
    objective: ClassVar[Objective] = "mean"
    refines: ClassVar[bool] = True
    is_exact: ClassVar[bool] = False
    preemption_cap: ClassVar[float | None] = None

    def plan(self, snapshot: Snapshot) -> Plan | None:
        if not is_triggered(snapshot):
            return None
        solution = self._solve(snapshot)
        running, order = snapshot.num_running, solution.order
        admissions = order[(order >= running) & solution.chosen[order]]
        unchosen = order[(order < running) & ~solution.chosen[order]]
        if self.refines:
            asking = order[order >= running]
            refiner = self._refiner(snapshot, solution)
            admitted, victims = refiner.refine(admissions, unchosen, asking)
        else:
            # The least valuable leave first, should the cap not allow all.
            victims = unchosen[::-1][: _at_most(self._max_victims(snapshot))]
            admitted = self._admissible(snapshot, solution, admissions, victims)
        kept = order[(order < running) & ~np.isin(order, victims)]
        return Plan(admit=admitted - running, preempt=victims, keep=kept)

    def _solve(self, snapshot: Snapshot) -> _Solution:
        """The best of the knapsacks over batch sizes; ties go to the larger batch."""
        waiting = snapshot.forecast.waiting()
        solutions = (
            self._knapsack(snapshot, waiting, int(batch_size))
            for batch_size in batch_sizes(snapshot)[::-1]
        )
        return max(solutions, key=lambda solution: solution.value)

    def _knapsack(self, snapshot: Snapshot, waiting: Floats, batch_size: int) -> _Solution:
        tokens_per_s = 1.0 / snapshot.step_time.step_s(batch_size)
        served = snapshot.forecast.served(snapshot.start_delay_s, tokens_per_s)
        worth = gain(served, waiting, snapshot.weight, self.objective)
        # Without a gain to tell them apart, who notices sooner goes first.
        density = worth / np.maximum(snapshot.context_tokens, 1.0)
        order: Ints = np.lexsort((snapshot.slack_s, -density))
        room = Room.of(snapshot, batch_size)
        # Blocks that are not free at once cannot be given to anyone in this step.
        must_stay = snapshot.is_running & ~snapshot.can_free
        if self.is_exact:
            chosen = _exactly(room, worth, must_stay)
        else:
            chosen = room.fill(order, must_stay)
        return _Solution(batch_size, worth, order, chosen)

    def _refiner(self, snapshot: Snapshot, solution: _Solution) -> Refiner:
        return Refiner(
            room=Room.of(snapshot, solution.batch_size),
            gain=solution.gain,
            overhead_s=snapshot.resume_s,
            loss_per_s=self._loss_per_s(snapshot, solution),
            max_victims=self._max_victims(snapshot),
        )

    def _loss_per_s(self, snapshot: Snapshot, solution: _Solution) -> float:
        """What all live streams lose if their next token comes a second later.

        The paper's "ongoing requests" include the waiting ones: they are delayed as well.
        """
        tokens_per_s = 1.0 / snapshot.step_time.step_s(solution.batch_size)
        later_s = snapshot.start_delay_s + 1.0
        worth = gain(
            snapshot.forecast.served(later_s, tokens_per_s),
            snapshot.forecast.waiting(),
            snapshot.weight,
            self.objective,
        )
        return float(np.maximum(solution.gain - worth, 0.0).sum())

    def _max_victims(self, snapshot: Snapshot) -> float:
        """v1's cap: preemptions per request, on average over all that ever came."""
        if self.preemption_cap is None:
            return np.inf
        return max(
            0.0, self.preemption_cap * snapshot.accepted_total - snapshot.preemptions_total
        )

    def _admissible(
        self, snapshot: Snapshot, solution: _Solution, admissions: Ints, victims: Ints
    ) -> Ints:
        """The admissions that fit once the victims have left."""
        room = Room.of(snapshot, solution.batch_size)
        stays = snapshot.is_running
        stays[victims] = False
        fits = room.fill(admissions, must_stay=stays)
        return admissions[fits[admissions]]


class PaperLongHorizon(PaperPolicy):
    """QoE forecast through most of an answer, not through its next few sentences."""

    horizon_s = 60.0


class PaperWithoutRefiner(PaperPolicy):
    """Every preemption of the solution is made, whatever it costs."""

    refines = False


class PaperFirstVersion(PaperPolicy):
    """v1: no refiner, and at most P = 1 preemptions per request on average."""

    refines = False
    preemption_cap = 1.0


class PaperExact(PaperPolicy):
    """The knapsacks solved to the optimum, for an ablation of the greedy packing."""

    is_exact = True


def is_triggered(snapshot: Snapshot) -> bool:
    """Whether memory is short, or a step slower than the fastest reader reads."""
    used_blocks = snapshot.total_blocks - snapshot.free_blocks
    if used_blocks > TRIGGER_OCCUPANCY * snapshot.total_blocks:
        return True
    step_s = snapshot.step_time.step_s(snapshot.num_running)
    return step_s * float(snapshot.forecast.tds.max(initial=0.0)) > 1.0


def batch_sizes(snapshot: Snapshot) -> Ints:
    """Batch sizes worth a knapsack, ascending: from the paper's B_min to its B_max.

    B_max fills memory with the shortest contexts. B_min is the largest batch that is still
    faster than the fastest reader: a smaller one serves nobody better.
    """
    room = Room.of(snapshot, snapshot.max_running)
    used = np.cumsum(np.sort(room.weights))
    fitting = int(np.searchsorted(used, room.blocks, side="right"))
    largest = max(1, min(fitting, room.slots))
    step = snapshot.step_time
    spare_s = 1.0 / float(snapshot.forecast.tds.max(initial=1e-3)) - step.base_s
    fast = spare_s / step.per_stream_s if step.per_stream_s > 0 else np.inf * spare_s
    smallest = int(np.clip(np.nan_to_num(fast), 1, largest))
    count = min(MAX_BATCH_SIZES, largest - smallest + 1)
    sizes: Ints = np.linspace(smallest, largest, count).round().astype(np.int64)
    return sizes


def _exactly(room: Room, worth: Floats, must_stay: Bools) -> Bools:
    blocks = room.blocks - int(room.weights[must_stay].sum())
    slots = room.slots - int(np.count_nonzero(must_stay))
    free = np.flatnonzero(~must_stay)
    chosen = must_stay.copy()
    chosen[free] = solve(worth[free], room.weights[free], blocks, slots)
    return chosen


def _at_most(count: float) -> int | None:
    return None if np.isinf(count) else int(count)
