"""What a placement costs in QoE: what the stream loses, those there, and those to come.

Pure arithmetic over arrays of n replicas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qoe import Expectation
from qoe.forecast import Floats, score
from qoe.harm import DEMAND_AXIS_TOKENS, STALL_AXIS_S
from qoe.metrics import expected_area
from router.fleet_state import FleetState
from telemetry.report import SLACK_GRID_S

_SLACK_GRID_S = np.array(SLACK_GRID_S)
_MAX_DEMAND_TOKENS = float(DEMAND_AXIS_TOKENS[-1])
_MAX_STALL_S = STALL_AXIS_S[-1]

# QoE that a stream of average size costs readers to come, on a replica that is full. It is
# what decides near saturation, where a forecast of one stream's loss is mostly noise.
FULL_PRICE = 1.5
# How much of its relative slowness counts against a replica. Its memory empties later, but
# it gets fewer streams anyhow by being as full as its peers: 0.3 to 0.5 served mixed fleets
# best (`andes replay --replica-speeds`), 1 was worse than not to look.
SLOWNESS_EXPONENT = 0.5
# Equal engines learn times that differ by this much, as logarithm.
SLOWNESS_NOISE = 0.1
# One noisy measurement should not make an engine look ten times as fast as its peers.
MAX_SLOWNESS = 4.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A stream as a policy sees it.

    Attributes:
        prompt_tokens: Of its prompt.
        output_tokens: Expected length of its answer, at least 1.
        demand_tokens: Mean KV tokens over its life.
        cached_tokens: Prompt tokens that each replica need not compute, shape (n,).
        expectation: What its reader expects.
    """

    prompt_tokens: float
    output_tokens: int
    demand_tokens: float
    cached_tokens: Floats | float
    expectation: Expectation


class Costs(NamedTuple):
    """What a placement on each replica costs, in readers' QoE, shape (n,).

    Attributes:
        own: What the stream itself loses.
        harm: What those lose that are there already.
        later: What those will lose that come while it is there.
    """

    own: Floats
    harm: Floats
    later: Floats | float = 0.0

    @property
    def total(self) -> Floats:
        total: Floats = self.own + self.harm + self.later
        return total


def placement_costs(fleet: FleetState, ask: Ask, *, waited_s: float = 0.0) -> Costs:
    """w · (1 − Q) of the stream, and the QoE that it takes from others.

    Args:
        fleet: n replicas.
        ask: The stream.
        waited_s: How long its reader has waited already.
    """
    told = fleet.reported
    prefill_tokens = np.maximum(ask.prompt_tokens - ask.cached_tokens, 0.0)
    demand = told.demand_tokens + fleet.unseen_tokens + ask.demand_tokens
    resident = np.minimum(told.capacity_tokens / demand, 1.0)
    streams = told.streams + fleet.unseen_streams + 1.0
    token_s = told.base_s / resident + told.per_stream_s * streams
    slowness = relative_slowness(told.prefill_s)
    start_s = _start_s(fleet, prefill_tokens, demand, token_s * resident, slowness)
    own = ask.expectation.weight * (1.0 - own_qoe(start_s + waited_s, token_s, ask))
    stall_s = prefill_tokens * told.prefill_s
    harm = _harm(fleet, ask.demand_tokens, stall_s)
    # However far an answer is, as much is still to come of it on average.
    grown = demand + streams * (ask.output_tokens / 2.0)
    size = ask.demand_tokens * streams.sum() / demand.sum()
    crowding = slowness**SLOWNESS_EXPONENT * grown / told.capacity_tokens
    # Where there is room, those to come lose next to nothing.
    later: Floats = FULL_PRICE * size * crowding**2
    return Costs(own, harm, later)


def relative_slowness(prefill_s: Floats) -> Floats:
    """How slow each engine is among its peers, 1 for all that are about equal.

    Of the times that an engine tells, that of a prompt token depends least on its load.
    """
    mean_s = prefill_s.sum() / prefill_s.size
    clipped = np.minimum(np.maximum(prefill_s / mean_s, 1.0 / MAX_SLOWNESS), MAX_SLOWNESS)
    differs = np.log(clipped)
    noise = np.minimum(np.maximum(differs, -SLOWNESS_NOISE), SLOWNESS_NOISE)
    slowness: Floats = np.exp(differs - noise)
    return slowness


def own_qoe(start_s: Floats, token_s: Floats, ask: Ask) -> Floats:
    """Area QoE of the stream once an ideal reader would be through, in [0, 1].

    That moment, and not the last delivery, is the same on every replica; or a replica
    would gain by taking longer over the rest of an answer that began late.

    Args:
        start_s: When the first token comes, counted from now.
        token_s: Seconds between tokens from then on, above 0.
        ask: The stream.
    """
    expectation = ask.expectation
    end_s = expectation.ttft_s + ask.output_tokens / expectation.tds
    reading_s = np.maximum(end_s - start_s, 0.0)
    pace = np.minimum(1.0 / token_s, expectation.tds)
    expected = np.asarray(expected_area(end_s, ask.output_tokens, expectation))
    return score(pace * reading_s**2 / 2.0, expected)


def _start_s(
    fleet: FleetState,
    prefill_tokens: Floats,
    demand_tokens: Floats,
    step_s: Floats,
    slowness: Floats,
) -> Floats:
    """Seconds until the first token: prompts before it, its own, and memory for it.

    What exceeds the memory is taken to leave at the rate at which streams end. The engine
    does better for those that it can still win: it lets them pass those that it cannot, so
    far into an overload this says too much, of every replica alike.
    """
    told = fleet.reported
    queued = told.queued_tokens + fleet.unseen_prefill_tokens + prefill_tokens
    start_s = queued * told.prefill_s + 2.0 * step_s
    column = np.searchsorted(_SLACK_GRID_S, start_s)
    # The memory of readers who could wait for longer than that is as good as free.
    soft_tokens = fleet.soft_tokens[fleet.rows, column]
    excess = np.maximum(demand_tokens - told.capacity_tokens - soft_tokens, 0.0)
    # How long streams stay differs by the engines' speeds; the rest is noise of lengths.
    residence_s = told.residence_s.sum() / slowness.size * slowness
    waits_s: Floats = start_s + excess / told.capacity_tokens * residence_s
    return waits_s


def _harm(fleet: FleetState, demand_tokens: float, stall_s: Floats) -> Floats:
    """QoE that the present streams lose by one more, after all that is on its way."""
    harm = _harm_told(fleet, demand_tokens, stall_s)
    told = fleet.tells_harm
    if told is None:
        return harm
    # One that says nothing is no better than its peers, or it would attract all streams.
    return np.where(told, harm, harm[told].mean())


def _harm_told(fleet: FleetState, demand_tokens: float, stall_s: Floats) -> Floats:
    if not fleet.unseen_streams.any():
        extra = np.full_like(stall_s, demand_tokens)
        return fleet.harm.lookup(extra, stall_s)
    # Beyond its edges the table is flat, and the fullest replica would seem to harm nobody:
    # from there on its last slope is what counts.
    room = max(_MAX_DEMAND_TOKENS - demand_tokens, 0.0)
    before = np.minimum(fleet.unseen_tokens, room)
    before_s = fleet.unseen_prefill_tokens * fleet.reported.prefill_s
    before_s = np.minimum(before_s, np.maximum(_MAX_STALL_S - stall_s, 0.0))
    without, with_it = fleet.harm.lookup(
        np.array((before, before + demand_tokens)), np.array((before_s, before_s + stall_s))
    )
    harm: Floats = np.maximum(with_it - without, 0.0)
    return harm
