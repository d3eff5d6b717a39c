"""What a placement costs in QoE: what the stream loses, those there, and those to come.

Pure arithmetic over arrays of n replicas.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qoe import Expectation
from qoe.forecast import Floats
from qoe.marginal_loss import DEMAND_AXIS_TOKENS, STALL_AXIS_S
from qoe.metrics import expected_area
from router.fleet_state import FleetState
from telemetry.report import SLACK_GRID_S

_SLACK_GRID_S = np.array(SLACK_GRID_S)
_MAX_DEMAND_TOKENS = float(DEMAND_AXIS_TOKENS[-1])
_MAX_STALL_S = STALL_AXIS_S[-1]

# QoE that a stream of average size costs readers to come, on a replica that is full. It is
# what decides near saturation, where a forecast of one stream's loss is mostly noise: the
# higher, the better `andes routers` came out, up to where nothing else counts.
FULL_PRICE = 15.0
# How much of a replica's crowding is that of its memory; the rest is that of its readers.
# Memory alone would make all replicas full at the same time, and each would have readers to
# give up; readers alone would leave memory idle. In between few replicas are overfull, and
# only those lose readers, who are few because they are large. 0.4 is the best of 0, 0.4 and
# 1 on three seeds of the equal replicas of `andes routers`.
MEMORY_SHARE = 0.4
# How much of its relative slowness counts against a replica. Its memory empties later, but
# it gets fewer streams anyhow by being as full as its peers, so less than all of it. A
# choice of ours as well.
SLOWNESS_EXPONENT = 0.5


class Ask(NamedTuple):
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
        marginal_loss: What those lose that are there already.
        later: What those will lose that come while it is there.
    """

    own: Floats
    marginal_loss: Floats
    later: Floats | float = 0.0

    @property
    def total(self) -> Floats:
        total: Floats = self.own + self.marginal_loss + self.later
        return total


def placement_costs(fleet: FleetState, ask: Ask) -> Costs:
    """w · (1 − Q) of the stream, and the QoE that it takes from others.

    Args:
        fleet: n replicas.
        ask: The stream.
    """
    told = fleet.reported
    prefill_tokens = np.maximum(ask.prompt_tokens - ask.cached_tokens, 0.0)
    demand = told.demand_tokens + fleet.unseen_tokens + ask.demand_tokens
    resident = np.minimum(told.capacity_tokens / demand, 1.0)
    streams = told.streams + fleet.unseen_streams + 1.0
    token_s = told.base_s / resident + told.per_stream_s * streams
    start_s = _start_s(fleet, prefill_tokens, demand, token_s * resident)
    own = ask.expectation.weight * (1.0 - own_qoe(start_s, token_s, ask))
    stall_s = prefill_tokens * told.prefill_s
    marginal_loss = _marginal_loss(fleet, ask.demand_tokens, stall_s)
    # However far an answer is, as much is still to come of it on average.
    grown = demand + streams * (ask.output_tokens / 2.0)
    mean_tokens = demand.sum() / streams.sum()
    size = ask.demand_tokens / mean_tokens
    shared_by = (grown / mean_tokens) ** MEMORY_SHARE * streams ** (1.0 - MEMORY_SHARE)
    full = shared_by * mean_tokens / told.capacity_tokens
    crowding = fleet.slowness**SLOWNESS_EXPONENT * full
    # Where there is room, those to come lose next to nothing.
    later: Floats = FULL_PRICE * size * crowding**2
    return Costs(own, marginal_loss, later)


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
    pace = np.minimum(np.reciprocal(token_s), expectation.tds)
    # Above 0: an answer has a token, and nobody reads it in no time.
    expected = expected_area(end_s, ask.output_tokens, expectation)
    qoe: Floats = np.minimum(pace * reading_s**2 / (2.0 * expected), 1.0)
    return qoe


def _start_s(
    fleet: FleetState,
    prefill_tokens: Floats,
    demand_tokens: Floats,
    step_s: Floats,
) -> Floats:
    """Seconds until the first token: prompts before it, its own, and memory for it.

    What exceeds the memory is taken to leave at the rate at which streams end. The engine
    does better for those that it can still win: it lets them pass those that it cannot, so
    far into an overload this says too much, of every replica alike.
    """
    told = fleet.reported
    queued = told.queued_tokens + fleet.unseen_prefill_tokens + prefill_tokens
    start_s: Floats = queued * told.prefill_s + 2.0 * step_s
    excess = demand_tokens - told.capacity_tokens
    # Most of the time all fit; and `max()` takes five times as long to say so.
    if excess[excess.argmax()] <= 0.0:
        return start_s
    # The memory of readers who could wait for longer than that is as good as free.
    soft_tokens = fleet.soft_tokens[fleet.rows, _SLACK_GRID_S.searchsorted(start_s)]
    excess = np.maximum(excess - soft_tokens, 0.0)
    # How long streams stay differs by the engines' speeds; the rest is noise of lengths.
    residence_s = told.residence_s.sum() / fleet.rows.size * fleet.slowness
    waits_s: Floats = start_s + excess / told.capacity_tokens * residence_s
    return waits_s


def _marginal_loss(fleet: FleetState, demand_tokens: float, stall_s: Floats) -> Floats:
    """QoE that the present streams lose by one more, after all that is on its way."""
    marginal_loss = _reported_loss(fleet, demand_tokens, stall_s)
    told = fleet.has_marginal_loss
    if told is None:
        return marginal_loss
    # One that says nothing is no better than its peers, or it would attract all streams.
    return np.where(told, marginal_loss, marginal_loss[told].mean())


def _reported_loss(fleet: FleetState, demand_tokens: float, stall_s: Floats) -> Floats:
    if not np.count_nonzero(fleet.unseen_streams):
        return fleet.marginal_loss.lookup(fleet.unseen_tokens + demand_tokens, stall_s)
    # Beyond its edges the table is flat, and a full replica would seem free: from
    # there on its last slope is what counts.
    room = max(_MAX_DEMAND_TOKENS - demand_tokens, 0.0)
    x_tokens, at_s = np.empty((2, 2, stall_s.size))
    np.minimum(fleet.unseen_tokens, room, out=x_tokens[0])
    np.add(x_tokens[0], demand_tokens, out=x_tokens[1])
    before_s = fleet.unseen_prefill_tokens * fleet.reported.prefill_s
    np.minimum(before_s, np.maximum(_MAX_STALL_S - stall_s, 0.0), out=at_s[0])
    np.add(at_s[0], stall_s, out=at_s[1])
    without, with_it = fleet.marginal_loss.lookup(x_tokens, at_s)
    marginal_loss: Floats = np.maximum(with_it - without, 0.0)
    return marginal_loss
