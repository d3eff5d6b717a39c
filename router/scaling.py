"""How many replicas readers need: up on trouble or its signs, down after calm.

Pure: a snapshot and what was remembered in, a number and what to remember out. What drives
it is readers who are late or about to be, and whether the replicas carry what is offered;
a queue or a count of requests says neither.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from qoe.forecast import Floats
from router.replica_load import FleetLoad, pressure

# Fewer live streams than this count as this many: one late reader is no share.
EVIDENCE_STREAMS = 20.0

Share = Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)]
Part = Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0.0, le=86400.0, allow_inf_nan=False)]


class ScalingSettings(BaseModel):
    """When a replica more is worth its price, and when one less is safe.

    Attributes:
        min_replicas: Never fewer.
        max_replicas: Never more.
        max_below_share: Live streams below target, and short of slack, that are let be.
        max_short_share: Live streams with less than 1 s of slack that are let be.
        max_backlog_s: Seconds of prefill that may wait on a replica.
        kv_share: KV demand that may stand against capacity; 1 is everybody in memory.
        promise_share: Part of the token rate that may be promised to readers.
        work_share: Part of the engines' time that arriving streams may ask for.
        idle_share: Below this part of the three, late readers are late for reasons that no
            replica cures.
        down_margin: Part of the remaining replicas that must be free after a step down.
        down_after_s: Fewer replicas must have done for so long before any leaves. About
            the time that a replica takes to start is a good choice: whoever lets one go
            sooner may pay for its start more than for keeping it.
        down_every_s: Time between two steps down.
        rate_window_s: What the rate of arrivals is averaged over.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_replicas: PositiveInt = 1
    max_replicas: PositiveInt = 8
    max_below_share: Share = 0.05
    max_short_share: Share = 0.3
    max_backlog_s: Seconds = 2.0
    kv_share: Part = 1.0
    promise_share: Part = 0.9
    work_share: Part = 0.85
    idle_share: Share = 0.4
    down_margin: Share = 0.25
    down_after_s: Seconds = 60.0
    down_every_s: Seconds = 15.0
    rate_window_s: Seconds = 10.0

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas={self.max_replicas} is invalid: it must be at least "
                f"min_replicas={self.min_replicas}"
            )
        return self

    def bounded(self, replicas: int) -> int:
        """`replicas` within the bounds."""
        return min(max(replicas, self.min_replicas), self.max_replicas)


@dataclass(frozen=True, slots=True)
class ScalingState:
    """What one decision leaves for the next.

    Attributes:
        accepted: Streams that each replica had ever taken by its last report.
        looked_at_s: When that was.
        rate_per_s: Streams that arrive per second, averaged over `rate_window_s`.
        burst_per_s: The same over a fifth of it.
        enough: In calm, at each look since it began or as far back as counts, when that
            was and how many replicas would have done; oldest first.
        stepped_at_s: When the last step down was.
    """

    accepted: Mapping[Hashable, float] = field(default_factory=dict)
    looked_at_s: float = -math.inf
    rate_per_s: float = 0.0
    burst_per_s: float = 0.0
    enough: tuple[tuple[float, int], ...] = ()
    stepped_at_s: float = -math.inf

    def observed(self, fleet: FleetLoad, window_s: float, now_s: float) -> ScalingState:
        """The same with what arrived since in the rate.

        Totals are compared replica by replica: one that joins, leaves or starts to count
        anew brings nothing.
        """
        totals = fleet.accepted
        came = sum(max(totals[n] - self.accepted.get(n, totals[n]), 0.0) for n in totals)
        passed_s = max(now_s - self.looked_at_s, 0.0)
        return ScalingState(
            accepted=totals,
            looked_at_s=now_s,
            rate_per_s=_averaged(self.rate_per_s, came, passed_s, window_s),
            burst_per_s=_averaged(self.burst_per_s, came, passed_s, window_s / 5.0),
            # A clock that was set back would have everybody wait for it.
            enough=tuple((min(at_s, now_s), number) for at_s, number in self.enough),
            stepped_at_s=min(self.stepped_at_s, now_s),
        )

    def offered_per_s(self, window_s: float) -> float:
        """Streams that arrive per second: a burst counts as far as it cannot be chance."""
        # What counts each arrival with weight exp(−t / w) / w has variance rate / 2 w.
        chance = 2.0 * math.sqrt(self.burst_per_s * 5.0 / (2.0 * window_s))
        return max(self.rate_per_s, self.burst_per_s - chance)


def _averaged(rate: float, came: float, passed_s: float, window_s: float) -> float:
    return rate * math.exp(-passed_s / window_s) + came / window_s


def decide(
    fleet: FleetLoad,
    replicas: int,
    state: ScalingState,
    settings: ScalingSettings,
    now_s: float,
) -> tuple[int, ScalingState]:
    """How many replicas there should be.

    Up at once, as far as what is seen needs; down to what would have done all the time for
    `down_after_s`, but by no more than half: what is known of the engines' speed is then
    looked at again. Without reports the number stays.

    Args:
        fleet: What the replicas that serve now report.
        replicas: The number asked for last, those that are still starting included.
        state: From the last decision.
        settings: Bounds and thresholds.
        now_s: On any clock, always the same one.
    """
    stays = settings.bounded(replicas)
    if not fleet.size:
        return stays, replace(state, enough=())
    state = state.observed(fleet, settings.rate_window_s, now_s)
    trouble = _trouble(fleet, state, settings)
    needed = settings.bounded(
        max(_carrying(fleet, state, settings), fleet.size + math.ceil(fleet.size * trouble))
    )
    if needed > stays:
        return needed, replace(state, enough=())
    enough = stays if trouble else _enough(fleet, stays, state, settings)
    if enough == stays:
        return stays, replace(state, enough=())
    return _fewer_if_due(stays, enough, state, settings, now_s)


def _carrying(fleet: FleetLoad, state: ScalingState, settings: ScalingSettings) -> int:
    """The fewest replicas that carry what is there and what arrives."""
    numbers = np.arange(settings.min_replicas, settings.max_replicas + 1)
    suffices = _strain(fleet, state, settings, fleet.size / numbers) <= 1.0
    return int(numbers[suffices.argmax()]) if suffices.any() else settings.max_replicas


def _strain(
    fleet: FleetLoad, state: ScalingState, settings: ScalingSettings, spread: Floats
) -> Floats:
    """The worst of the pressures over its threshold, by `spread`."""
    at = pressure(fleet, state.offered_per_s(settings.rate_window_s), spread)
    of_readers = np.maximum(
        at.memory / settings.kv_share, at.readers / settings.promise_share
    )
    strain: Floats = np.maximum(of_readers, at.work / settings.work_share)
    return strain


def _trouble(fleet: FleetLoad, state: ScalingState, settings: ScalingSettings) -> float:
    """The part of the replicas that readers miss, in [0, 1]; 0 is no trouble."""
    loads = fleet.columns
    live = max(fleet.streams, EVIDENCE_STREAMS)
    # A stream that was late and has slack again is helped already.
    below = min(float(np.minimum(loads.below, loads.short).sum()) / live, 1.0)
    short = min(float(loads.short.sum()) / live, 1.0)
    waits = fleet.backlog_s / settings.max_backlog_s
    strain = float(_strain(fleet, state, settings, np.ones(1))[0])
    if max(strain, waits) < settings.idle_share:
        return 0.0
    return max(
        below if below > settings.max_below_share else 0.0,
        short - settings.max_short_share,
        min(waits - 1.0, 1.0),
        0.0,
    )


def _enough(
    fleet: FleetLoad, replicas: int, state: ScalingState, settings: ScalingSettings
) -> int:
    """The fewest replicas that carry everything with a margin, whoever leaves."""
    rates = np.sort(fleet.full_tokens_per_s)[::-1]
    # Those that are starting count as the mean of the others.
    starting = max(replicas - rates.size, 0)
    leaving = np.append(rates[:replicas], np.full(starting, rates.mean()))
    remaining = leaving.sum() - np.append(0.0, leaving.cumsum())[:replicas]
    strain = _strain(fleet, state, settings, rates.sum() / remaining)
    # One more may leave as long as the rest suffices.
    suffices = np.logical_and.accumulate(strain[1:] <= 1.0 - settings.down_margin)
    return max(replicas - int(suffices.sum()), settings.min_replicas)


def _fewer_if_due(
    replicas: int,
    enough: int,
    state: ScalingState,
    settings: ScalingSettings,
    now_s: float,
) -> tuple[int, ScalingState]:
    """Down to the most that any look of the last `down_after_s` found enough."""
    since_s = now_s - settings.down_after_s
    looks = (*state.enough, (now_s, enough))
    # The last look before that time vouches for its beginning.
    first = max((i for i, (at_s, _) in enumerate(looks) if at_s <= since_s), default=0)
    looks = looks[first:]
    calm = replace(state, enough=looks)
    is_due = looks[0][0] <= since_s and now_s - state.stepped_at_s >= settings.down_every_s
    target = max(*(number for _, number in looks), math.ceil(replicas / 2))
    if is_due and target < replicas:
        return target, replace(calm, stepped_at_s=now_s)
    return replicas, calm
