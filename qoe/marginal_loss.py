"""What more work would cost the readers an engine has already: a table for its router.

The score is delay QoE over the whole answer: ideal digestion times over actual ones. A
reader loses only what their buffer does not cover, so buffered streams cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qoe.forecast import Floats
from qoe.stream_table import Slots, StreamTable

# Context tokens that come on top of the demand for KV memory.
DEMAND_AXIS_TOKENS = (0, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
# Seconds for which nobody gets a token, because prompts are computed.
STALL_AXIS_S = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)

_DEMAND: Floats = np.array(DEMAND_AXIS_TOKENS, dtype=np.float64)
_STALL: Floats = np.array(STALL_AXIS_S)
SHAPE = (_DEMAND.size, _STALL.size)
# Where each demand begins in a flat table, and how far it is to the next corners of a cell.
# numpy takes an array of no dimension in half the time of a number.
_ROW_STARTS = np.arange(_DEMAND.size) * _STALL.size
_NEXT_ROW, _NEXT_COLUMN = np.array(_STALL.size), np.array(1)

# Seconds a token; below it nobody falls behind, and dividing by it stays finite.
_NEVER_BEHIND_S = 1e-12
_SHORTEST_STEP_S = 1e-6


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What one engine has, and what its live streams ask of it.

    Attributes:
        kv_tokens: Tokens its KV memory holds.
        demand_tokens: Context tokens of all live streams, running or not.
        step_base_s: Seconds of a step, and
        step_per_stream_s: seconds more for each stream in it.
        max_running: Most streams in a step.
    """

    kv_tokens: float
    demand_tokens: float
    step_base_s: float
    step_per_stream_s: float
    max_running: float = np.inf


def marginal_loss_table(
    readers: StreamTable,
    slots: Slots,
    now_s: float,
    load: EngineLoad,
    *,
    remaining_tokens: Floats,
    start_delay_s: Floats | float = 0.0,
    weight: Floats | float = 1.0,
) -> Floats:
    """QoE that these streams would lose, by extra demand and extra stall, shape (9, 7).

    0 at the origin, rising along both axes, at most the sum of `weight`.

    Args:
        readers: Where the streams' readers are.
        slots: The live streams, n.
        now_s: Time on the clock of `readers`.
        load: The engine with these streams alone.
        remaining_tokens: Tokens each has still to come, as far as known, shape (n,).
        start_delay_s: Seconds until its next token could come; 0 for a running stream.
        weight: What its reader counts for.
    """
    if not slots.size:
        return np.zeros(SHAPE)
    behind_s = _falling_behind_s(readers.tds[slots], load)
    buffer_s = np.maximum(readers.slack_s(slots, now_s) - start_delay_s, 0.0)
    remaining = np.maximum(remaining_tokens, 1.0)
    delay = _delay_to_come(behind_s, buffer_s, remaining)
    delay -= delay[:, :1, :1].copy()
    ideal, actual = _digestion_times(readers, slots, now_s + start_delay_s, remaining)
    actual += _delay_to_come(behind_s[:, :1], buffer_s, remaining)[:, 0, 0]
    kept = (weight * ideal)[:, None, None] / (actual[:, None, None] + delay)
    lost: Floats = (kept[:, :1, :1] - kept).sum(axis=0)
    return lost


def _falling_behind_s(tds: Floats, load: EngineLoad) -> Floats:
    """Seconds a token comes later than its reader wants the next, > 0, shape (n, 9).

    The newcomers are like the streams there are. While the engine makes as many tokens as
    all readers read, the scheduler keeps everybody at their pace; below that, everybody
    gets the same part of it. Nobody gets more than a token a step.
    """
    demand = max(load.demand_tokens, 1.0)
    growth = (demand + _DEMAND) / demand
    streams = tds.size * growth
    resident = np.minimum(max(load.kv_tokens, 1.0) / (demand + _DEMAND), 1.0)
    running = np.minimum(streams * resident, max(load.max_running, 1.0))
    step_s = load.step_base_s + load.step_per_stream_s * running
    step_s = np.maximum(step_s, _SHORTEST_STEP_S)
    share = np.minimum(running / step_s / (tds.sum() * growth), 1.0)
    token_s = 1.0 / tds[:, None]
    behind_s: Floats = np.maximum(token_s / share, step_s) - token_s
    return np.maximum(behind_s, _NEVER_BEHIND_S)


def _delay_to_come(behind_s: Floats, buffer_s: Floats, remaining: Floats) -> Floats:
    """Sum of the delays of the tokens to come, by demand and stall, token·seconds.

    Token k is max(0, stall − buffer + k·behind) late: a triangle, or a trapezoid.
    """
    first_s = (_STALL - buffer_s[:, None])[:, None, :]
    left = remaining[:, None, None]
    last_s = np.maximum(first_s + (behind_s * remaining[:, None])[:, :, None], 0.0)
    late_tokens = last_s * (1.0 / behind_s)[:, :, None]
    np.minimum(late_tokens, left, out=late_tokens)
    last_s += np.maximum(first_s, 0.0)
    last_s *= late_tokens
    last_s *= 0.5
    return last_s


def _digestion_times(
    readers: StreamTable, slots: Slots, next_s: Floats | float, remaining: Floats
) -> tuple[Floats, Floats]:
    """Sums of the tokens' digestion times since submission: ideal ones, and as it stands.

    As it stands, tokens come at the reader's pace from `next_s` on.
    """
    tds, arrived_at_s = readers.tds[slots], readers.arrived_at_s[slots]
    delivered = readers.delivered_tokens[slots]
    ttft_s, read_until_s = readers.ttft_s[slots], readers.read_until_s[slots]
    total = delivered + remaining
    ideal = total * ttft_s + total**2 / (2.0 * tds)
    # Everything delivered has been read by then, so its area is what it was early by.
    end_s = float(read_until_s.max())
    area = readers.forecast(slots, end_s - 1.0, 1.0).buffered_area
    past = delivered * (end_s - arrived_at_s) - area
    due_s = arrived_at_s + ttft_s
    goes_on_s = np.maximum(np.where(delivered > 0, read_until_s, due_s), next_s)
    future = remaining * (goes_on_s - arrived_at_s) + remaining**2 / (2.0 * tds)
    return ideal, np.maximum(past + future, ideal)


class MarginalLossTables:
    """The tables of marginal losses of several replicas, looked up all at once.

    Args:
        tables: `EngineReport.marginal_loss` of each; what is no finite table of 63 counts
            as one of zeros.
    """

    def __init__(self, tables: Sequence[Sequence[float]]) -> None:
        self._tables = np.zeros((len(tables), *SHAPE))
        self._firsts = np.arange(len(tables)) * _DEMAND.size * _STALL.size
        for row, table in enumerate(tables):
            self.replace(row, table)

    def __len__(self) -> int:
        return len(self._tables)

    def replace(self, row: int, table: Sequence[float]) -> None:
        """Let `table` be that of replica `row` from now on."""
        values = np.asarray(table, dtype=np.float64)
        is_table = values.size == self._tables[row].size and np.isfinite(values).all()
        self._tables[row] = values.reshape(SHAPE) if is_table else 0.0

    def lookup(self, x_tokens: Floats, stall_s: Floats) -> Floats:
        """Of each replica at (x, stall): bilinear, and flat beyond the edges."""
        i, u = _DEMAND_CELLS.find(x_tokens)
        j, v = _STALL_CELLS.find(stall_s)
        # Flat indices: four of them cost less than one index in three dimensions.
        flat = self._tables.reshape(-1)
        at = self._firsts + _ROW_STARTS[i] + j
        below = at + _NEXT_ROW
        near, far = flat[at], flat[below]
        near = near + (flat[at + _NEXT_COLUMN] - near) * v
        far = far + (flat[below + _NEXT_COLUMN] - far) * v
        marginal_loss: Floats = near + (far - near) * u
        return marginal_loss


class _Cells:
    """The cells between the points of an axis."""

    def __init__(self, axis: Floats) -> None:
        self._starts, self._inner = axis[:-1], axis[1:-1]
        self._low, self._high = np.array(axis[0]), np.array(axis[-1])
        # Multiplying costs less than dividing.
        self._per_cell = 1.0 / np.diff(axis)

    def find(self, at: Floats) -> tuple[Slots, Floats]:
        """The cell that `at` falls into, and how far across it, in [0, 1]."""
        at = np.minimum(np.maximum(at, self._low), self._high)
        cell = self._inner.searchsorted(at, side="right")
        return cell, (at - self._starts[cell]) * self._per_cell[cell]


_DEMAND_CELLS, _STALL_CELLS = _Cells(_DEMAND), _Cells(_STALL)
