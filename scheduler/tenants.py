"""Who shares an engine with whom, and what each has used of it. No vLLM here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qoe.tenant import NOBODY, Tenant
from scheduler.snapshot import Floats, Ints, StepTime, TenantShares

# Nobody is further behind whoever used most, in engine time for a share of 1: what was used
# while no one else wanted it is no debt, and a quiet tenant that wants all of a sudden gets
# no more than this before the others. Contention itself keeps tenants some answers apart.
MAX_CREDIT_S = 60.0


class Prices(NamedTuple):
    """What engine time costs.

    Attributes:
        step_time: Of a step.
        capacity_tokens: Whose KV the memory holds, > 0.
        max_running: Most streams of a step, > 0.
    """

    step_time: StepTime
    capacity_tokens: float
    max_running: int

    def answer_s(self, prompt_tokens: float, output_tokens: float) -> float:
        """Engine seconds of an answer: its prompt, and its part of the steps it was in."""
        step = self.step_time
        held = (prompt_tokens + output_tokens) / self.capacity_tokens
        token_s = step.base_s * max(held, 1.0 / self.max_running) + step.per_stream_s
        return output_tokens * token_s + prompt_tokens * step.prefill_s_per_token


class Tenants:
    """Those who have live streams here: their shares, and the engine time they used.

    A tenant that comes back has used no less than the one that used least meanwhile: who
    was away saved nothing up (the lift of Sheng et al., OSDI 2024).

    Attributes:
        prices: What engine time costs here, as last measured.

    Invariants:
        A tenant has a row from its first live stream to the end of its last.
        Requests that name nobody are one tenant.
        Nobody is ever more than `MAX_CREDIT_S` behind another one in a plan.
    """

    def __init__(self) -> None:
        self.prices = Prices(StepTime(0.0, 0.0, 0.0), 1, 1)
        self._row_of: dict[str, int] = {}
        self._names: list[str] = []
        self._live: list[int] = []
        self._free: list[int] = []
        self._share: Floats = np.ones(0)
        self._used_s: Floats = np.zeros(0)

    def __len__(self) -> int:
        return len(self._row_of)

    def join(self, tenant: Tenant = NOBODY) -> int:
        """The row of the tenant of a new stream."""
        row = self._row_of.get(tenant.name)
        if row is None:
            least_s = self._least_s()
            row = self._row()
            self._row_of[tenant.name], self._names[row] = row, tenant.name
            self._used_s[row] = least_s * tenant.share
        self._live[row] += 1
        self._share[row] = tenant.share
        return row

    def leave(self, row: int, prompt_tokens: float, output_tokens: float) -> None:
        """A stream of the tenant in this row has ended, and is paid for.

        Args:
            row: As `join` gave it.
            prompt_tokens: Those that were computed.
            output_tokens: Those that were written.
        """
        self._used_s[row] += self.prices.answer_s(prompt_tokens, output_tokens)
        self._live[row] -= 1
        if self._live[row]:
            return
        del self._row_of[self._names[row]]
        self._free.append(row)

    def shares(self, rows: Ints) -> TenantShares | None:
        """What the tenants of these streams have used; None while there is only one."""
        if len(self) < 2:
            return None
        used_s = self._used_s / self._share
        used_s = np.maximum(used_s, used_s[np.unique(rows)].max() - MAX_CREDIT_S)
        self._used_s = used_s * self._share
        return TenantShares(rows, used_s, self._share)

    def _least_s(self) -> float:
        live = list(self._row_of.values())
        return float((self._used_s / self._share)[live].min()) if live else 0.0

    def _row(self) -> int:
        if self._free:
            return self._free.pop()
        self._names.append("")
        self._live.append(0)
        self._share = np.append(self._share, 1.0)
        self._used_s = np.append(self._used_s, 0.0)
        return self._share.size - 1
